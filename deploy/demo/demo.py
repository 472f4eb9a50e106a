"""The demonstration: starts the server, sends pictures that the models were not trained on, shows the answers.

Leaves annotated pictures, a contact sheet and the server's log in the output folder.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
try:
    from contact_sheet import contact_sheet
    from PIL import Image, ImageOps
    from server_process import DemoError, ServerProcess
    from spatial_mamba_client import Classification, Client, Detection, DetectOptions, Segmentation, SpatialMambaError
    from spatial_mamba_client.drawing import open_image
except ImportError as missing:
    sys.exit(f"demo: {missing}\n  Run it as `make demo`, which installs what it needs and sets PYTHONPATH=clients/python.")

DATA = TOP / "tests/data"
CARD = 480  # pixels
SHOWN_CLASSES = 3
SHOWN_PICTURES = 2  # of each model, on the sheet

Result = Classification | Detection | Segmentation


@dataclass(frozen=True)
class Answer:
    model: str
    file: Path
    result: Result
    milliseconds: float  # as the client sees it

    @property
    def text(self) -> str:
        if isinstance(self.result, Classification):
            return ", ".join(f"{one.name} {100 * one.probability:.0f} %" for one in self.result.classes)
        if isinstance(self.result, Detection):
            counted = Counter(found.name for found in self.result.objects)
            return ", ".join(f"{count} {name}" for name, count in counted.most_common()) or "nothing found"
        total = sum(share.pixels for share in self.result.classes)
        largest = sorted(self.result.classes, key=lambda share: -share.pixels)[:SHOWN_CLASSES]
        return ", ".join(f"{share.name} {100 * share.pixels / total:.0f} %" for share in largest)

    @property
    def is_right(self) -> bool:
        """Of photos that are named after what they show, as hat-1.jpg."""
        return isinstance(self.result, Classification) and self.result.top.name == self.file.stem.rpartition("-")[0]


def ask_classifier(client: Client, file: Path) -> Result:
    return client.classify(file, "clothing", top_k=SHOWN_CLASSES, deadline=60.0)


def ask_detector(model: str) -> Callable[[Client, Path], Result]:
    return lambda client, file: client.detect(file, model, DetectOptions(score_threshold=0.5), deadline=60.0)


def ask_segmenter(client: Client, file: Path) -> Result:
    return client.segment(file, "aerial", deadline=60.0)


# Each model with its pictures, in the order of the sheet's columns.
EXHIBITS: dict[str, Callable[[Client, Path], Result]] = {
    "clothing": ask_classifier,
    "bloodcells": ask_detector("bloodcells"),
    "nuclei": ask_detector("nuclei"),
    "aerial": ask_segmenter,
}
# What the numbers in the weight files are called.
SCORES = {
    "test_top1": "top-1",
    "box_AP50": "box AP50",
    "mask_AP50": "mask AP50",
    "pixel_accuracy": "pixel accuracy",
    "mean_iou": "mIoU",
}


def say(text: str) -> None:
    print(text, flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--server", type=Path, default=TOP / "build/release/bin/spatial-mamba-server", help="the program")
    parser.add_argument("--config", type=Path, default=TOP / "deploy/demo/config.yaml")
    parser.add_argument("--device", help="what computes: auto, cpu, cuda, [cuda:0] (default: as the configuration says)")
    parser.add_argument("--output", type=Path, default=TOP / "demo-output")
    parser.add_argument("--start-timeout", type=float, default=90.0, metavar="SECONDS")
    return parser.parse_args()


def find_pictures(arguments: argparse.Namespace) -> list[tuple[str, Path]]:
    """(model, picture)"""
    incomplete = "The checkout is incomplete: git status shows what is gone."
    for path, remedy in ((arguments.server, "Build it: make build"), (arguments.config, incomplete)):
        if not path.is_file():
            raise DemoError(f"{path} is missing", remedy)
    pictures = []
    for model in EXHIBITS:
        if not (found := sorted((DATA / model).glob("*.jpg"))):
            raise DemoError(f"there are no pictures in {DATA / model}", incomplete)
        pictures += [(model, file) for file in found]
    return pictures


def scores_of(weights: Path) -> str:
    """What the model reached on the test split of its data set: it stands in the metadata of its weights."""
    with weights.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    metrics = json.loads(header["__metadata__"].get("metrics", "{}"))
    return ", ".join(f"{name} {100 * metrics[key]:.1f} %" for key, name in SCORES.items() if key in metrics)


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


def answer(client: Client, model: str, file: Path) -> Answer:
    start = time.perf_counter()
    result = EXHIBITS[model](client, file)
    return Answer(model, file, result, 1000 * (time.perf_counter() - start))


def answer_all(target: str, pictures: list[tuple[str, Path]]) -> list[Answer]:
    with Client(target) as client:
        say(f"{'model':<10}  {'does':<8}  {'classes':>7}  scores on its test split")
        for model in client.models():
            weights = TOP / f"deploy/models/{model.name}.safetensors"
            scores = scores_of(weights) if weights.is_file() else ""
            say(f"{model.name:<10}  {model.task:<8}  {len(model.classes):>7}  {scores}")
        say(f"\n{'file':<14}  {'model':<10}  {'ms':>6}  answer")
        answers = []
        for name, file in pictures:
            answers.append(answer(client, name, file))
            say(f"{file.name:<14}  {name:<10}  {answers[-1].milliseconds:>6.1f}  {answers[-1].text}")
    return answers


def draw(answer: Answer) -> Image.Image:
    note = f"{answer.milliseconds:.0f} ms"
    if isinstance(answer.result, Classification):
        # A central square, as the model sees it, makes all photos of the sheet alike.
        square = ImageOps.fit(open_image(answer.file), (CARD, CARD), Image.Resampling.LANCZOS)
        return answer.result.draw(square, note=note)
    title = answer.text if isinstance(answer.result, Detection) else answer.model
    return answer.result.draw(answer.file, title=title, note=note, min_width=CARD)


def save_pictures(answers: list[Answer], folder: Path) -> Path:
    columns: dict[str, list[Image.Image]] = {}
    for one in answers:
        card = draw(one)
        card.save(folder / f"{one.file.stem}.png")
        columns.setdefault(one.model, []).append(card)
    rows = [[cards[row] for cards in columns.values()] for row in range(SHOWN_PICTURES)]
    sheet = contact_sheet(
        "Spatial-Mamba Server",
        "Classification, detection, instance masks and semantic segmentation over gRPC, "
        "of pictures the models were not trained on",
        [card for row in rows for card in row],
        columns=len(columns),
    )
    path = folder / "contact-sheet.png"
    sheet.save(path, optimize=True)
    return path


def run(arguments: argparse.Namespace) -> None:
    pictures = find_pictures(arguments)
    arguments.output.mkdir(parents=True, exist_ok=True)
    log = arguments.output / "server.log"
    overrides = [f"device={arguments.device}"] if arguments.device else []
    with ServerProcess(arguments.server.resolve(), arguments.config.resolve(), log, overrides) as server:
        target, _ = wait_ready(server, arguments.start_timeout)
        try:
            answers = answer_all(target, pictures)
        except SpatialMambaError as error:
            raise DemoError(f"a call failed: {error}", "The server's log says more.", server.log_tail()) from error
        server.drain(seconds=60.0)
    say("\nThe server finished its work and ended with exit status 0.")

    named = [one for one in answers if isinstance(one.result, Classification)]
    right = sum(one.is_right for one in named)
    say(f"{right} of {len(named)} photos of clothes were named right.")
    sheet = save_pictures(answers, arguments.output)
    say(f"Annotated pictures: {arguments.output}/\nAll on one sheet:   {sheet}")
    if 2 * right < len(named):
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
