"""`spatial-mamba evaluate`: a labelled data set through the server, and its scores."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Callable, TypeVar

from spatial_mamba_client import Client, DetectOptions, Model, SpatialMambaError, Unreachable
from spatial_mamba_client.evaluation import data_sets
from spatial_mamba_client.evaluation.report import Report, percent
from spatial_mamba_client.tables import table

T = TypeVar("T")

HELP = "score a model on a labelled data set"
DESCRIPTION = "Sends a labelled data set to the server and scores the answers."
SHOWN_FAILURES = 5


class EvaluationError(Exception):
    """Why there are no scores."""


def add_parser(commands: Any, epilog: str) -> None:
    parser = commands.add_parser("evaluate", help=HELP, description=DESCRIPTION, epilog=epilog)
    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")

    classify = _task_parser(tasks, "classify", "top-1 and top-5 accuracy, calibration", "a folder with a folder for each class")
    classify.set_defaults(evaluate=_classify)

    detect = _task_parser(
        tasks, "detect", "COCO average precision", "a COCO file, or a folder of X.jpg with maps X.png of numbered objects"
    )
    detect.add_argument("--images", type=Path, metavar="FOLDER", help="of a COCO file's pictures, default: where it is")
    detect.add_argument("--class-name", metavar="NAME", help="of the objects in maps, default: the model's only class")
    detect.add_argument("--max-detections", type=_count, default=100, metavar="N", help="that count in a picture, default 100")
    detect.add_argument("--score-threshold", type=float, metavar="P", help="0 to 1, default: the model's")
    detect.set_defaults(evaluate=_detect)

    segment = _task_parser(
        tasks, "segment", "mean IoU and pixel accuracy", "a folder of X.jpg with maps X.png of class indices"
    )
    segment.add_argument("--ignore", metavar="CLASS", help="name or index of a class whose true pixels do not count")
    segment.set_defaults(evaluate=_segment)


def _task_parser(tasks: Any, name: str, scores: str, data: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = tasks.add_parser(name, help=f"{scores}; DATA is {data}", description=f"{scores}.")
    parser.add_argument("data", type=Path, metavar="DATA", help=data)
    parser.add_argument("--model", default="", help="default: the only one that does this")
    parser.add_argument("--concurrency", type=_count, default=8, metavar="N", help="calls at a time, default 8")
    parser.add_argument("--limit", type=_count, metavar="N", help="only the first N pictures")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--save-dir", type=Path, metavar="DIR", help="leave report.json and charts there")
    parser.set_defaults(run=run, usual_deadline=120.0)
    return parser


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def run(client: Client, arguments: argparse.Namespace) -> int:
    model = _model(client, arguments)
    start = time.monotonic()
    try:
        import numpy  # noqa: F401  # first, so that what is missing is said before any work
        import tqdm  # noqa: F401

        if arguments.save_dir:
            import matplotlib  # noqa: F401
        report, scored, failures = arguments.evaluate(client, model, arguments)
        seconds = time.monotonic() - start
        said = {
            "task": arguments.task,
            "data": str(arguments.data),
            "model": {"name": model.name, "version": model.version, "weights_sha256": model.weights_sha256},
            "pictures": scored,
            "failed": failures,
            "seconds": round(seconds, 3),
            **report.as_json(),
        }
        if arguments.save_dir:
            _save(arguments.save_dir, report, said)
    except ImportError as error:
        raise EvaluationError(f"evaluate needs: pip install 'spatial-mamba-client[evaluation]' ({error})") from error
    except data_sets.DataSetError as error:
        raise EvaluationError(str(error)) from error
    if arguments.json:
        print(json.dumps(said))
    else:
        print(table(report.rows, right=range(1, len(report.rows[0]))))
        print()
        print(table([(name.replace("_", " "), percent(value)) for name, value in report.scores.items()], right=(1,)))
        print(f"\n{scored} pictures in {seconds:.1f} s, model {model.name} version {model.version}")
    for failure in failures[:SHOWN_FAILURES]:
        print(f"{failure['file']}: {failure['error']}", file=sys.stderr)
    if failures:
        print(f"{len(failures)} pictures were not scored", file=sys.stderr)
    return 1 if failures else 0


def _model(client: Client, arguments: argparse.Namespace) -> Model:
    models = client.models(arguments.deadline)
    found = [one for one in models if one.task == arguments.task and arguments.model in ("", one.name)]
    if len(found) != 1:
        having = ", ".join(f"{one.name} ({one.task})" for one in models)
        wanted = f"no model {arguments.model!r} does {arguments.task}" if not found else f"several models do {arguments.task}"
        raise EvaluationError(f"{wanted}: name one with --model; the server has {having or 'none'}")
    return found[0]


def _save(folder: Path, report: Report, said: dict[str, Any]) -> None:
    from spatial_mamba_client.evaluation import charts

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    for name, draw in report.charts.items():
        draw(charts).savefig(folder / name)


def _ask_all(
    items: Sequence[T], file: Callable[[T], Path], ask: Callable[[T], Any], arguments: argparse.Namespace
) -> tuple[list[Any], list[dict[str, str]]]:
    """The answers in the order of the items, None where there is none; and what failed. No more than `concurrency` pictures
    are read and on their way at a time. A server that cannot be reached, or data that is wrong, ends it."""
    from tqdm import tqdm

    answers: list[Any] = [None] * len(items)
    failures: list[tuple[int, str]] = []
    pending: dict[Future[Any], int] = {}
    pool = ThreadPoolExecutor(arguments.concurrency)
    try:
        with tqdm(total=len(items), unit=" pictures", disable=None, file=sys.stderr) as bar:  # None: only on a terminal
            waiting = iter(range(len(items)))
            while True:
                while len(pending) < 2 * arguments.concurrency and (index := next(waiting, None)) is not None:
                    pending[pool.submit(ask, items[index])] = index
                if not pending:
                    break
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    index = pending.pop(future)
                    bar.update()
                    try:
                        answers[index] = future.result()
                    except Unreachable:
                        raise
                    except (SpatialMambaError, OSError) as error:
                        failures.append((index, str(error)))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    if len(failures) == len(items):
        raise EvaluationError(f"nothing could be scored; {file(items[failures[0][0]])}: {failures[0][1]}")
    return answers, [{"file": str(file(items[index])), "error": error} for index, error in sorted(failures)]


def _classify(client: Client, model: Model, arguments: argparse.Namespace) -> tuple[Report, int, list[dict[str, str]]]:
    from spatial_mamba_client.evaluation import classification

    pictures = data_sets.class_folders(arguments.data, model.classes)[: arguments.limit]

    def ask(picture: data_sets.LabelledPicture) -> Any:
        result = client.classify(picture.file, model.name, 5, deadline=arguments.deadline, version=model.version)
        return classification.Guess.of(picture.label, result)

    guesses, failures = _ask_all(pictures, lambda picture: picture.file, ask, arguments)
    scored = [guess for guess in guesses if guess is not None]
    return classification.report(scored, model.classes), len(scored), failures


def _detect(client: Client, model: Model, arguments: argparse.Namespace) -> tuple[Report, int, list[dict[str, str]]]:
    from spatial_mamba_client.evaluation import detection

    data = _objects(model, arguments)
    numbers = detection.shared_classes(data, model.classes)
    pictures = list(zip(data.files, (image["id"] for image in data.truth["images"])))[: arguments.limit]
    options = DetectOptions(arguments.score_threshold, mask_encoding=None if data.has_masks else "none")

    def ask(picture: tuple[Path, int]) -> Any:
        result = client.detect(picture[0], model.name, options, deadline=arguments.deadline, version=model.version)
        return detection.entries(result, picture[1], numbers)

    found, failures = _ask_all(pictures, lambda picture: picture[0], ask, arguments)
    answered = {number for (_, number), entries in zip(pictures, found) if entries is not None}
    truth = {
        **data.truth,
        "images": [image for image in data.truth["images"] if image["id"] in answered],
        "annotations": [note for note in data.truth["annotations"] if note["image_id"] in answered],
    }
    entries = [entry for each in found if each is not None for entry in each]
    scored = data_sets.CocoDataSet(truth, data.files)
    return detection.report(scored, entries, numbers, arguments.max_detections), len(answered), failures


def _objects(model: Model, arguments: argparse.Namespace) -> data_sets.CocoDataSet:
    if not arguments.data.is_dir():
        return data_sets.coco_file(arguments.data, arguments.images)
    if arguments.class_name is None and len(model.classes) != 1:
        raise EvaluationError("maps say nothing of classes, and the model has several: name theirs with --class-name")
    return data_sets.instance_maps(arguments.data, arguments.class_name or model.classes[0])


def _segment(client: Client, model: Model, arguments: argparse.Namespace) -> tuple[Report, int, list[dict[str, str]]]:
    from spatial_mamba_client.evaluation import segmentation

    names = list(model.classes)
    ignored = None
    if arguments.ignore is not None:
        ignored = names.index(arguments.ignore) if arguments.ignore in names else _index(arguments.ignore, names)
    pictures = data_sets.label_maps(arguments.data)[: arguments.limit]

    def ask(picture: data_sets.MappedPicture) -> Any:
        result = client.segment(picture.file, model.name, deadline=arguments.deadline, version=model.version)
        return segmentation.confusion(picture, result, len(names))

    counts, failures = _ask_all(pictures, lambda picture: picture.file, ask, arguments)
    scored = [one for one in counts if one is not None]
    return segmentation.report(sum(scored), names, ignored), len(scored), failures


def _index(text: str, names: Sequence[str]) -> int:
    if not text.isdecimal() or int(text) >= len(names):
        raise EvaluationError(f"--ignore {text}: the model's classes are {', '.join(names)}")
    return int(text)
