"""The command line `spatial-mamba`."""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Union

from spatial_mamba_client import (
    Classification,
    Client,
    Detection,
    DetectOptions,
    Segmentation,
    SpatialMambaError,
    Tiling,
    Unreachable,
    __version__,
)
from spatial_mamba_client.evaluation import command as evaluation
from spatial_mamba_client.tables import table

EXIT_OK, EXIT_SOME_FAILED, EXIT_USAGE, EXIT_UNREACHABLE, EXIT_INTERRUPTED = 0, 1, 2, 3, 130
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"}
# Calls at a time: enough for the server to put several images into one batch.
CONCURRENT_CALLS = 8

EPILOG = """exit status: 0 all went well; 1 some files failed, or the server is not serving; 2 wrong usage;
3 the server cannot be reached; 130 interrupted"""


Result = Union[Classification, Detection, Segmentation]
# Calls the server for a picture.
Ask = Callable[[Client, bytes], Result]


class UsageError(Exception):
    pass


@dataclass(frozen=True)
class Outcome:
    """What became of one file."""

    file: str
    milliseconds: float
    result: Result | None = None
    error: SpatialMambaError | OSError | ValueError | None = None

    def as_json(self) -> dict[str, Any]:
        if self.result is not None:
            return {"file": self.file, "milliseconds": round(self.milliseconds, 3), **_without_none(asdict(self.result))}
        return {"file": self.file, "error": _error_as_json(self.error)}


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    """What JSON can hold: bytes become text, absent fields go."""
    fields["image_size"] = dict(zip(("height", "width"), fields["image_size"]))
    return _plain(fields)  # type: ignore[no-any-return]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items() if each is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, bytes):
        text = value.decode("ascii", errors="ignore")
        # Run lengths are text already; pictures are not.
        return text if len(text) == len(value) and text.isprintable() else base64.b64encode(value).decode("ascii")
    return value


def _error_as_json(error: Exception | None) -> dict[str, Any]:
    if not isinstance(error, SpatialMambaError):
        return {"code": "LOCAL", "message": str(error)}
    return {
        "code": error.code.name,
        "message": error.message,
        "reason": error.reason,
        "retry_delay_seconds": error.retry_delay,
        "field_violations": [asdict(violation) for violation in error.field_violations],
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="spatial-mamba", description="Client of the Spatial-Mamba server.", epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument(
        "--server",
        metavar="HOST:PORT",
        default=os.environ.get("SPATIALMAMBA_SERVER") or "localhost:8001",
        help="default: $SPATIALMAMBA_SERVER, else localhost:8001",
    )
    parser.add_argument(
        "--deadline", metavar="SECONDS", type=_positive(float), help="of each call, default 10, and 120 of those of evaluate"
    )
    parser.set_defaults(usual_deadline=10.0)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    classify = _task_parser(commands, "classify", "name what is in pictures", "classifier")
    classify.add_argument("--top-k", type=_positive(int), default=5, metavar="N", help="classes for each picture, default 5")
    classify.set_defaults(run=_classify)

    detect = _task_parser(commands, "detect", "find objects in pictures", "detector")
    detect.add_argument("--score-threshold", type=float, metavar="P", help="0 to 1, default: the model's")
    detect.add_argument("--max-results", type=_positive(int), metavar="N", help="for each picture, default: the model's")
    detect.add_argument("--classes", type=int, nargs="+", default=[], metavar="INDEX", help="only these")
    detect.add_argument("--masks", choices=("coco_rle", "polygon", "png", "none"), help="default: coco_rle if there are any")
    _add_tiling(detect)
    detect.set_defaults(run=_detect)

    segment = _task_parser(commands, "segment", "name what every pixel shows", "segmenter")
    segment.add_argument("--confidence", action="store_true", help="also say how certain it is (with --json)")
    _add_tiling(segment)
    segment.set_defaults(run=_segment)

    evaluation.add_parser(commands, EPILOG)

    models = commands.add_parser("models", help="list what is loaded", epilog=EPILOG)
    models.add_argument("--json", action="store_true")
    models.set_defaults(run=_models)

    health = commands.add_parser("health", help="exit 0 only if the server is ready", epilog=EPILOG)
    health.add_argument("--service", default="", help="liveness, classify, detect or segment; default: readiness")
    health.set_defaults(run=_health)
    return parser


def _task_parser(commands: Any, name: str, help_text: str, kind: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help_text, epilog=EPILOG)
    parser.add_argument("inputs", nargs="+", metavar="FILE|FOLDER|-", help="pictures, folders, - for standard input")
    parser.add_argument("--model", default="", help=f"default: the only {kind} that is loaded")
    parser.add_argument("--explain", action="store_true", help="also say where the time went (with --json)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line for each picture")
    parser.add_argument("--save-dir", type=Path, metavar="DIR", help="write annotated pictures there")
    return parser


def _add_tiling(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tile-size", type=_positive(int), metavar="PIXELS", help="cut pictures into squares of this side")
    parser.add_argument("--tile-overlap", type=int, metavar="PIXELS", help="that tiles share, default: an eighth of their side")


def _tiling(arguments: argparse.Namespace) -> Tiling | None:
    if arguments.tile_size is None:
        if arguments.tile_overlap is not None:
            raise UsageError("--tile-overlap needs --tile-size")
        return None
    return Tiling(arguments.tile_size, arguments.tile_overlap)


def _positive(kind: type) -> Any:
    def parse(text: str) -> Any:
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
        return value

    return parse


def _files(inputs: Sequence[str]) -> list[str]:
    files: list[str] = []
    for name in inputs:
        if name != "-" and Path(name).is_dir():
            found = sorted(str(path) for path in Path(name).rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
            if not found:
                raise UsageError(f"{name} holds no pictures ({', '.join(sorted(SUFFIXES))})")
            files += found
        else:
            files.append(name)
    if files.count("-") > 1:
        raise UsageError("standard input (-) can be read only once")
    return files


class _Pictures:
    """Names for annotated pictures: each file's own, numbered where two are the same."""

    def __init__(self, folder: Path) -> None:
        try:
            import spatial_mamba_client.drawing  # noqa: F401
        except ImportError as error:
            raise UsageError(f"--save-dir needs Pillow: pip install 'spatial-mamba-client[pillow]' ({error})") from error
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._taken: set[str] = set()

    def path(self, file: str) -> Path:
        stem = "stdin" if file == "-" else Path(file).stem
        name, number = stem, 1
        while name in self._taken:
            number += 1
            name = f"{stem}-{number}"
        self._taken.add(name)
        return self._folder / f"{name}.png"


def _answer_one(client: Client, ask: Ask, file: str, save_as: Path | None) -> Outcome:
    start = time.monotonic()
    try:
        image = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        start = time.monotonic()
        result = ask(client, image)
        milliseconds = 1000 * (time.monotonic() - start)
        if save_as:
            result.draw(image).save(save_as)
            if isinstance(result, Segmentation):
                save_as.with_suffix(".labels.png").write_bytes(result.label_map)
        return Outcome(file, milliseconds, result)
    except (SpatialMambaError, OSError, ValueError) as error:
        return Outcome(file, 1000 * (time.monotonic() - start), error=error)


def _classify(client: Client, arguments: argparse.Namespace) -> int:
    def ask(client: Client, image: bytes) -> Result:
        return client.classify(image, arguments.model, arguments.top_k, arguments.explain, arguments.deadline)

    return _answer_all(client, arguments, ask)


def _detect(client: Client, arguments: argparse.Namespace) -> int:
    options = DetectOptions(
        arguments.score_threshold, arguments.max_results, tuple(arguments.classes), arguments.masks, _tiling(arguments)
    )

    def ask(client: Client, image: bytes) -> Result:
        return client.detect(image, arguments.model, options, arguments.explain, arguments.deadline)

    return _answer_all(client, arguments, ask)


def _segment(client: Client, arguments: argparse.Namespace) -> int:
    tiling = _tiling(arguments)

    def ask(client: Client, image: bytes) -> Result:
        return client.segment(
            image, arguments.model, arguments.confidence, arguments.explain, arguments.deadline, tiling=tiling
        )

    return _answer_all(client, arguments, ask)


def _answer_all(client: Client, arguments: argparse.Namespace, ask: Ask) -> int:
    files = _files(arguments.inputs)
    pictures = _Pictures(arguments.save_dir) if arguments.save_dir else None
    targets = [pictures.path(file) if pictures else None for file in files]
    # Lines of results on the same terminal are progress enough.
    shows_progress = len(files) > 1 and sys.stderr.isatty() and not (arguments.json and sys.stdout.isatty())

    outcomes: list[Outcome] = []
    pool = ThreadPoolExecutor(CONCURRENT_CALLS)
    try:
        for outcome in pool.map(lambda pair: _answer_one(client, ask, *pair), zip(files, targets)):
            if isinstance(outcome.error, Unreachable):
                raise outcome.error
            outcomes.append(outcome)
            if shows_progress:
                print(f"\r{len(outcomes)} of {len(files)} pictures", end="", file=sys.stderr, flush=True)
            if arguments.json:
                print(json.dumps(outcome.as_json()), flush=True)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        if shows_progress:
            print(file=sys.stderr)

    if not arguments.json:
        _print_outcomes(outcomes)
    return EXIT_SOME_FAILED if any(outcome.error for outcome in outcomes) else EXIT_OK


def _print_outcomes(outcomes: Sequence[Outcome]) -> None:
    rows: list[Sequence[str]] = []
    right: Sequence[int] = ()
    for outcome in outcomes:
        if outcome.result is None:
            continue
        header, right, cells = _cells(outcome.result)
        rows = rows or [("file", *header, "ms")]
        for index, cell in enumerate(cells):
            first = (outcome.file, f"{outcome.milliseconds:.1f}") if index == 0 else ("", "")
            rows.append((first[0], *cell, first[1]))
    if rows:
        print(table(rows, right))
    sys.stdout.flush()
    for outcome in outcomes:
        if outcome.error:
            print(f"{outcome.file}: {outcome.error}", file=sys.stderr)


def _cells(result: Result) -> tuple[Sequence[str], Sequence[int], list[Sequence[str]]]:
    """Names of the columns of a result, which of the table's are set flush right, and its rows; at least one."""
    if isinstance(result, Classification):
        return ("class", "probability"), (2, 3), [(one.name, f"{100 * one.probability:.1f} %") for one in result.classes]
    if isinstance(result, Detection):
        found: list[Sequence[str]] = [
            (one.name, f"{100 * one.score:.1f} %", " ".join(f"{side:.1f}" for side in one.box)) for one in result.objects
        ]
        return ("object", "score", "x1 y1 x2 y2"), (2, 4), found or [("nothing found", "", "")]
    pixels = max(1, sum(share.pixels for share in result.classes))
    by_size = sorted(result.classes, key=lambda share: (-share.pixels, share.index))
    return ("class", "share"), (2, 3), [(one.name, f"{100 * one.pixels / pixels:.1f} %") for one in by_size]


def _models(client: Client, arguments: argparse.Namespace) -> int:
    models = client.models(arguments.deadline)
    if arguments.json:
        print(json.dumps([asdict(model) for model in models], indent=2))
        return EXIT_OK
    rows: list[Sequence[str]] = [("name", "version", "task", "variant", "classes", "precision", "device", "ready")]
    for model in models:
        ready = "yes" if model.ready else "no"
        counted = str(len(model.classes))
        rows.append((model.name, model.version, model.task, model.variant, counted, model.precision, model.device, ready))
    print(table(rows, right=(4,)))
    return EXIT_OK


def _health(client: Client, arguments: argparse.Namespace) -> int:
    serving = client.health(arguments.service, arguments.deadline)
    print("SERVING" if serving else "NOT_SERVING")
    return EXIT_OK if serving else EXIT_SOME_FAILED


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    if arguments.deadline is None:
        arguments.deadline = arguments.usual_deadline
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # file names need not be text
    try:
        with Client(arguments.server) as client:
            return int(arguments.run(client, arguments))
    except (UsageError, evaluation.EvaluationError) as error:
        print(f"spatial-mamba: {error}", file=sys.stderr)
        return EXIT_USAGE
    except Unreachable as error:
        print(f"spatial-mamba: {error}", file=sys.stderr)
        return EXIT_UNREACHABLE
    except (SpatialMambaError, OSError) as error:
        print(f"spatial-mamba: {error}", file=sys.stderr)
        return EXIT_SOME_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
