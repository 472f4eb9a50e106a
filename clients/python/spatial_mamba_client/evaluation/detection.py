"""Scores of detectors: COCO's average precision, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from spatial_mamba_client import Detection
from spatial_mamba_client.evaluation.data_sets import CocoDataSet, DataSetError
from spatial_mamba_client.evaluation.report import Report, percent

# An object counts as shown to a person, in the confusion matrix, from this score on; and as found at this overlap.
SHOWN_SCORE, FOUND_OVERLAP = 0.3, 0.5
BACKGROUND = "(background)"


def shared_classes(data: CocoDataSet, names: Sequence[str]) -> dict[str, int]:
    """The data set's number of every class that both know by name, by rising number: the order of COCOeval's results."""
    categories = {category["name"]: category["id"] for category in data.truth["categories"]}
    shared = {name: categories[name] for name in names if name in categories}
    if not shared:
        raise DataSetError(
            f"the model and the data share no class: the model knows {', '.join(names[:12])}, "
            f"the data {', '.join(list(categories)[:12])}"
        )
    return dict(sorted(shared.items(), key=lambda pair: pair[1]))


def entries(result: Detection, image_id: int, numbers: dict[str, int]) -> list[dict[str, Any]]:
    """What pycocotools takes as results. Classes that the data set does not know are left out."""
    pairs = zip(result.objects, result.to_coco(image_id))
    return [{**entry, "category_id": numbers[found.name]} for found, entry in pairs if found.name in numbers]


def report(data: CocoDataSet, found: list[dict[str, Any]], numbers: dict[str, int], limit: int) -> Report:
    """Of at most `limit` objects a picture. The averages are over the classes of `numbers`."""
    truth = COCO()
    truth.dataset = data.truth
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    kinds = [("box", "bbox")]
    if data.has_masks and found and all("segmentation" in entry for entry in found):
        kinds.append(("mask", "segm"))
    scores: dict[str, float] = {}
    per_class: list[dict[str, Any]] = [{"name": name} for name in numbers]
    curves: dict[str, Any] = {}
    for kind, coco_kind in kinds:
        precision, recall = _precision(truth, found, coco_kind, list(numbers.values()), limit)
        scores.update(
            {
                f"{kind}_AP": _mean(precision[..., 0]),
                f"{kind}_AP50": _mean(precision[0, ..., 0]),
                f"{kind}_AP75": _mean(precision[5, ..., 0]),
                f"{kind}_AP_small": _mean(precision[..., 1]),
                f"{kind}_AP_medium": _mean(precision[..., 2]),
                f"{kind}_AP_large": _mean(precision[..., 3]),
                f"{kind}_AR": _mean(recall[..., 0]),
            }
        )
        for index, one in enumerate(per_class):
            one[f"{kind}_AP"] = _mean(precision[:, :, index, 0])
            one[f"{kind}_AP50"] = _mean(precision[0, :, index, 0])
        curves[kind] = {name: precision[0, :, index, 0].tolist() for index, name in enumerate(numbers)}
    for one in per_class:
        one["objects"] = sum(note["category_id"] == numbers[one["name"]] for note in data.truth["annotations"])
    counts = confusion(data.truth, found, list(numbers.values()))
    columns = ["objects", *(f"{kind}_{score}" for kind, _ in kinds for score in ("AP", "AP50"))]
    rows = [("class", "objects", *(name.replace("_", " ") for name in columns[1:]))]
    rows += [(one["name"], str(one["objects"]), *(percent(one[name]) for name in columns[1:])) for one in per_class]
    names = [*numbers, BACKGROUND]
    charts: dict[str, Any] = {"confusion.png": lambda charts: charts.confusion(counts, names, names)}
    for kind in curves:
        charts[f"precision-recall-{kind}.png"] = lambda charts, kind=kind: charts.precision_recall(
            curves[kind], {one["name"]: one[f"{kind}_AP50"] for one in per_class}, kind
        )
    return Report(
        {name: value for name, value in scores.items() if value is not None},
        {"classes": per_class, "confusion": counts.tolist(), "confusion_score": SHOWN_SCORE},
        rows,
        charts,
    )


def _precision(truth: COCO, found: list[dict[str, Any]], kind: str, categories: list[int], limit: int) -> tuple[Any, Any]:
    """Precision [overlap, recall, class, area] and recall [overlap, class, area]; -1 where there is nothing to find."""
    with contextlib.redirect_stdout(io.StringIO()):
        # loadRes changes what it is given.
        results = truth.loadRes([dict(entry) for entry in found]) if found else _nothing(truth)
        run = COCOeval(truth, results, kind)
        run.params.catIds = categories
        run.params.maxDets = [1, 10, limit]
        run.evaluate()
        run.accumulate()
    return run.eval["precision"][..., -1], run.eval["recall"][..., -1]


def _nothing(truth: COCO) -> COCO:
    empty = COCO()
    empty.dataset = {**truth.dataset, "annotations": []}
    empty.createIndex()
    return empty


def _mean(values: Any) -> float | None:
    known = values[values > -1]
    return float(known.mean()) if known.size else None


def confusion(truth: dict[str, Any], found: Sequence[dict[str, Any]], categories: list[int]) -> Any:
    """Objects [true class, class that was said], the last of both "nothing". By falling score each object that was said
    takes the true one, of whatever class, that it overlaps most, if that is free."""
    index = {category: i for i, category in enumerate(categories)}
    counts = np.zeros((len(categories) + 1, len(categories) + 1), np.int64)
    true_of: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in truth["images"]}
    said_of: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in truth["images"]}
    for note in truth["annotations"]:
        if note["category_id"] in index and not note["iscrowd"]:
            true_of[note["image_id"]].append(note)
    for entry in found:
        if entry["score"] >= SHOWN_SCORE:
            said_of[entry["image_id"]].append(entry)
    for image, there in true_of.items():
        said = sorted(said_of[image], key=lambda entry: -entry["score"])
        free = set(range(len(there)))
        overlaps = coco_mask.iou([one["bbox"] for one in said], [one["bbox"] for one in there], [0] * len(there))
        for row, entry in enumerate(said):
            best = max(free, key=lambda i: overlaps[row][i], default=None)  # noqa: B023  # used at once
            if best is not None and overlaps[row][best] >= FOUND_OVERLAP:
                free.discard(best)
                counts[index[there[best]["category_id"]], index[entry["category_id"]]] += 1
            else:
                counts[-1, index[entry["category_id"]]] += 1
        for missed in free:
            counts[index[there[missed]["category_id"]], -1] += 1
    return counts
