"""The command line `spatial-mamba`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spatial_mamba_client import Classification, Client, SpatialMambaError, Unreachable, __version__

EXIT_OK, EXIT_SOME_FAILED, EXIT_USAGE, EXIT_UNREACHABLE, EXIT_INTERRUPTED = 0, 1, 2, 3, 130
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"}
# Calls at a time: enough for the server to put several images into one batch.
CONCURRENT_CALLS = 8

EPILOG = """exit status: 0 all went well; 1 some files failed, or the server is not serving; 2 wrong usage;
3 the server cannot be reached; 130 interrupted"""


class UsageError(Exception):
    pass


@dataclass(frozen=True)
class Outcome:
    """What became of one file."""

    file: str
    milliseconds: float
    result: Classification | None = None
    error: SpatialMambaError | OSError | ValueError | None = None

    def as_json(self) -> dict[str, Any]:
        if self.result is not None:
            return {"file": self.file, "milliseconds": round(self.milliseconds, 3), **_without_none(asdict(self.result))}
        return {"file": self.file, "error": _error_as_json(self.error)}


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    fields["image_size"] = dict(zip(("height", "width"), fields["image_size"]))
    fields["classes"] = [{key: value for key, value in score.items() if value is not None} for score in fields["classes"]]
    return {key: value for key, value in fields.items() if value is not None}


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
    parser.add_argument("--deadline", metavar="SECONDS", type=_positive(float), default=10.0, help="of each call, default 10")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    classify = commands.add_parser("classify", help="name what is in pictures", epilog=EPILOG)
    classify.add_argument("inputs", nargs="+", metavar="FILE|FOLDER|-", help="pictures, folders, - for standard input")
    classify.add_argument("--model", default="", help="default: the only classifier that is loaded")
    classify.add_argument("--top-k", type=_positive(int), default=5, metavar="N", help="classes for each picture, default 5")
    classify.add_argument("--explain", action="store_true", help="also say where the time went (with --json)")
    classify.add_argument("--json", action="store_true", help="one JSON object a line for each picture")
    classify.add_argument("--save-dir", type=Path, metavar="DIR", help="write annotated pictures there")
    classify.set_defaults(run=_classify)

    models = commands.add_parser("models", help="list what is loaded", epilog=EPILOG)
    models.add_argument("--json", action="store_true")
    models.set_defaults(run=_models)

    health = commands.add_parser("health", help="exit 0 only if the server is ready", epilog=EPILOG)
    health.add_argument("--service", default="", help="liveness, classify, detect or segment; default: readiness")
    health.set_defaults(run=_health)
    return parser


def _positive(kind: type) -> Any:
    def parse(text: str) -> Any:
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
        return value

    return parse


def _table(rows: Iterable[Sequence[str]], right: Sequence[int]) -> str:
    """Columns as wide as their widest cell; those in `right` are set flush right."""
    lines = [[cell if cell.isprintable() else ascii(cell)[1:-1] for cell in row] for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    pads = [str.rjust if column in right else str.ljust for column in range(len(widths))]
    return "\n".join("  ".join(pad(cell, width) for pad, cell, width in zip(pads, line, widths)).rstrip() for line in lines)


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


def _classify_one(client: Client, arguments: argparse.Namespace, file: str, save_as: Path | None) -> Outcome:
    start = time.monotonic()
    try:
        image = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        start = time.monotonic()
        result = client.classify(image, arguments.model, arguments.top_k, arguments.explain, arguments.deadline)
        milliseconds = 1000 * (time.monotonic() - start)
        if save_as:
            result.draw(image).save(save_as)
        return Outcome(file, milliseconds, result)
    except (SpatialMambaError, OSError, ValueError) as error:
        return Outcome(file, 1000 * (time.monotonic() - start), error=error)


def _classify(client: Client, arguments: argparse.Namespace) -> int:
    files = _files(arguments.inputs)
    pictures = _Pictures(arguments.save_dir) if arguments.save_dir else None
    targets = [pictures.path(file) if pictures else None for file in files]
    # Lines of results on the same terminal are progress enough.
    shows_progress = len(files) > 1 and sys.stderr.isatty() and not (arguments.json and sys.stdout.isatty())

    outcomes: list[Outcome] = []
    pool = ThreadPoolExecutor(CONCURRENT_CALLS)
    try:
        for outcome in pool.map(lambda pair: _classify_one(client, arguments, *pair), zip(files, targets)):
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
    rows = [("file", "class", "probability", "ms")]
    for outcome in outcomes:
        for index, score in enumerate(outcome.result.classes if outcome.result else ()):
            first = (outcome.file, f"{outcome.milliseconds:.1f}") if index == 0 else ("", "")
            rows.append((first[0], score.name, f"{100 * score.probability:.1f} %", first[1]))
    if len(rows) > 1:
        print(_table(rows, right=(2, 3)))
    sys.stdout.flush()
    for outcome in outcomes:
        if outcome.error:
            print(f"{outcome.file}: {outcome.error}", file=sys.stderr)


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
    print(_table(rows, right=(4,)))
    return EXIT_OK


def _health(client: Client, arguments: argparse.Namespace) -> int:
    serving = client.health(arguments.service, arguments.deadline)
    print("SERVING" if serving else "NOT_SERVING")
    return EXIT_OK if serving else EXIT_SOME_FAILED


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # file names need not be text
    try:
        with Client(arguments.server) as client:
            return int(arguments.run(client, arguments))
    except UsageError as error:
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
