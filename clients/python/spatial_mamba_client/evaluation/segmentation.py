"""Scores of semantic segmenters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spatial_mamba_client import Segmentation
from spatial_mamba_client.evaluation.data_sets import DataSetError, MappedPicture
from spatial_mamba_client.evaluation.report import Report, percent


def confusion(picture: MappedPicture, result: Segmentation, classes: int) -> Any:
    """Pixels [true class, class that was said]. Pixels whose true value is no class (as 255, "void") are left out."""
    truth, found = picture.labels(), result.labels()
    if truth.shape != found.shape:
        raise DataSetError(f"{picture.map} is {_size(truth)}, but {Path(picture.file).name} is {_size(found)}")
    known = truth < classes
    pairs = truth[known] * classes + found[known].astype(np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def _size(values: Any) -> str:
    return f"{values.shape[1]} x {values.shape[0]}"


def report(counts: Any, names: Sequence[str], ignored: int | None) -> Report:
    """Of pixels [true class, said class]. True pixels of the class `ignored` count nowhere; the mean is over the classes that
    occur, as in mmsegmentation's IoUMetric."""
    counts = counts.copy()
    if ignored is not None:
        counts[ignored] = 0
    if not counts.sum():
        raise DataSetError("no pixel of the maps has a class that counts")
    right, union = counts.diagonal(), counts.sum(0) + counts.sum(1) - counts.diagonal()
    present = np.flatnonzero(counts.sum(1))
    per_class = [
        {
            "name": names[i],
            "pixels": int(counts[i].sum()),
            "iou": float(right[i] / union[i]),
            "accuracy": float(right[i] / counts[i].sum()),
        }
        for i in present
    ]
    scores = {
        "pixel_accuracy": float(right.sum() / counts.sum()),
        "mean_iou": float(np.mean([one["iou"] for one in per_class])),
    }
    rows = [("class", "pixels", "IoU", "accuracy")]
    rows += [(str(o["name"]), str(o["pixels"]), percent(o["iou"]), percent(o["accuracy"])) for o in per_class]
    return Report(
        scores,
        {"classes": per_class, "confusion": counts.tolist()},
        rows,
        {"confusion.png": lambda charts: charts.confusion(counts, names, names)},
    )
