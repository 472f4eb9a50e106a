"""The demonstration: starts the server, classifies photos that the model was not trained on, shows the answers.

Leaves annotated pictures, a contact sheet and the server's log in the output folder.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
try:
    from contact_sheet import contact_sheet
    from PIL import Image, ImageOps
    from server_process import DemoError, ServerProcess
    from spatial_mamba_client import Classification, Client, SpatialMambaError
    from spatial_mamba_client.drawing import open_image
except ImportError as missing:
    sys.exit(f"demo: {missing}\n  Run it as `make demo`, which installs what it needs and sets PYTHONPATH=clients/python.")

PHOTOS = TOP / "tests/data/clothing"  # named after what they show, as in hat-1.jpg
CARD = 400  # pixels
SHOWN_CLASSES = 3


@dataclass(frozen=True)
class Answer:
    file: Path
    result: Classification
    milliseconds: float  # as the client sees it

    @property
    def expected(self) -> str:
        return self.file.stem.rpartition("-")[0]

    @property
    def is_right(self) -> bool:
        return self.result.top.name == self.expected


def say(text: str) -> None:
    print(text, flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--server", type=Path, default=TOP / "build/release/bin/spatial-mamba-server", help="the program")
    parser.add_argument("--config", type=Path, default=TOP / "deploy/demo/config.yaml")
    parser.add_argument("--output", type=Path, default=TOP / "demo-output")
    parser.add_argument("--start-timeout", type=float, default=90.0, metavar="SECONDS")
    return parser.parse_args()


def find_photos(arguments: argparse.Namespace) -> list[Path]:
    incomplete = "The checkout is incomplete: git status shows what is gone."
    for path, remedy in ((arguments.server, "Build it: make build"), (arguments.config, incomplete)):
        if not path.is_file():
            raise DemoError(f"{path} is missing", remedy)
    if not (photos := sorted(PHOTOS.glob("*.jpg"))):
        raise DemoError(f"there are no photos in {PHOTOS}", incomplete)
    return photos


def wait_ready(server: ServerProcess, seconds: float) -> tuple[str, str]:
    """On a terminal the line counts up; elsewhere it is printed once."""
    live = sys.stdout.isatty()
    say("Starting the server ..." if not live else "")

    def on_wait(waited: float) -> None:
        if live:
            print(f"\033[A\033[2KStarting the server ... {waited:.1f} s", flush=True)

    start = time.monotonic()
    target, admin = server.wait_ready(seconds, on_wait)
    say(f"Ready after {time.monotonic() - start:.1f} s: gRPC at {target}, metrics at http://{admin}/metrics\n")
    return target, admin


def classify(client: Client, file: Path) -> Answer:
    start = time.perf_counter()
    result = client.classify(file, top_k=SHOWN_CLASSES, explain=True, deadline=30.0)
    return Answer(file, result, 1000 * (time.perf_counter() - start))


def print_answer(answer: Answer) -> None:
    top = answer.result.top
    others = ", ".join(f"{score.name} {100 * score.probability:.1f} %" for score in answer.result.classes[1:])
    probability = f"{100 * top.probability:.1f} %"
    say(f"{answer.file.name:<16}  {top.name:<12}  {probability:>11}  {answer.milliseconds:>6.1f}")
    say(f"{'':<16}  then {others}")


def classify_all(target: str, photos: list[Path]) -> list[Answer]:
    with Client(target) as client:
        model = client.models()[0]
        say(f"Model {model.name} version {model.version}: {len(model.classes)} classes, {model.precision} on {model.device}\n")
        say(f"{'file':<16}  {'answer':<12}  {'probability':>11}  {'ms':>6}")
        answers = []
        for file in photos:
            answers.append(classify(client, file))
            print_answer(answers[-1])
    return answers


def draw(answer: Answer) -> Image.Image:
    # A central square, as the model sees it, makes all pictures of the sheet alike.
    square = ImageOps.fit(open_image(answer.file), (CARD, CARD), Image.Resampling.LANCZOS)
    return answer.result.draw(square, note=f"{answer.milliseconds:.1f} ms")


def save_pictures(answers: list[Answer], folder: Path) -> Path:
    cards = [draw(answer) for answer in answers]
    for answer, card in zip(answers, cards):
        card.save(folder / f"{answer.file.stem}.png")
    milliseconds = sorted(answer.milliseconds for answer in answers)[len(answers) // 2]
    sheet = contact_sheet(
        "Spatial-Mamba Server",
        f"Photos the model was not trained on, classified over gRPC in {milliseconds:.0f} ms each (median)",
        cards,
        columns=min(3, len(cards)),
    )
    path = folder / "contact-sheet.png"
    sheet.save(path, optimize=True)
    return path


def run(arguments: argparse.Namespace) -> None:
    photos = find_photos(arguments)
    arguments.output.mkdir(parents=True, exist_ok=True)
    log = arguments.output / "server.log"
    with ServerProcess(arguments.server.resolve(), arguments.config.resolve(), log) as server:
        target, _ = wait_ready(server, arguments.start_timeout)
        try:
            answers = classify_all(target, photos)
        except SpatialMambaError as error:
            raise DemoError(f"a call failed: {error}", "The server's log says more.", server.log_tail()) from error
        server.drain(seconds=60.0)
    say("\nThe server finished its work and ended with exit status 0.")

    right = sum(answer.is_right for answer in answers)
    say(f"{right} of {len(answers)} answers are what the photo shows.")
    sheet = save_pictures(answers, arguments.output)
    say(f"Annotated pictures: {arguments.output}/\nAll on one sheet:   {sheet}")
    if 2 * right < len(answers):
        raise DemoError(
            "most answers are wrong", "The model file or the build is damaged: git status and make test find out which."
        )


def main() -> int:
    # Ends through the `with` statement that stops the server.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    try:
        run(parse_arguments())
    except DemoError as error:
        print(f"\ndemo failed: {error.what}\n  {error.remedy}", file=sys.stderr)
        if error.log:
            print("  The end of the server's log:", *error.log.splitlines(), sep="\n  | ", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"\ndemo failed: {error}\n  Is there room on the disk, and may you write the output folder?", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; the server is stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
