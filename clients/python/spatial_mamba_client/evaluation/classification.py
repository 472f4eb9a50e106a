"""Scores of classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spatial_mamba_client import Classification
from spatial_mamba_client.evaluation.report import Report, percent

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Guess:
    """What a classifier said of one picture."""

    label: int
    top: tuple[int, ...]  # up to five classes by falling probability
    confidence: float  # probability of the first

    @staticmethod
    def of(label: int, result: Classification) -> Guess:
        return Guess(label, tuple(scored.index for scored in result.classes[:5]), result.top.probability)


def confusion(guesses: Sequence[Guess], classes: int) -> Any:
    """Pictures [true class, class that was said]."""
    counts = np.zeros((classes, classes), np.int64)
    for guess in guesses:
        counts[guess.label, guess.top[0]] += 1
    return counts


def calibration(guesses: Sequence[Guess]) -> list[dict[str, float]]:
    """Bins of equal width of the confidence: how many pictures, their mean confidence, the share of them that was right."""
    right = np.array([guess.top[0] == guess.label for guess in guesses], float)
    confidence = np.array([guess.confidence for guess in guesses], float)
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    return [
        {"count": int(own.sum()), "confidence": float(confidence[own].mean()), "accuracy": float(right[own].mean())}
        for own in (bins == index for index in range(CALIBRATION_BINS))
        if own.any()
    ]


def expected_calibration_error(bins: Sequence[dict[str, float]]) -> float:
    """Mean distance of confidence and accuracy, weighted by the pictures (Guo et al., "On Calibration of Modern Neural
    Networks", ICML 2017)."""
    total = sum(one["count"] for one in bins)
    return sum(one["count"] / total * abs(one["confidence"] - one["accuracy"]) for one in bins)


def report(guesses: Sequence[Guess], names: Sequence[str]) -> Report:
    counts = confusion(guesses, len(names))
    right = counts.diagonal()
    bins = calibration(guesses)
    scores = {
        "top1": float(right.sum() / len(guesses)),
        "top5": float(np.mean([guess.label in guess.top for guess in guesses])),
        "expected_calibration_error": expected_calibration_error(bins),
    }
    present = np.flatnonzero(counts.sum(1))
    per_class = [
        {
            "name": names[i],
            "pictures": int(counts[i].sum()),
            "recall": float(right[i] / counts[i].sum()),
            "precision": float(right[i] / counts[:, i].sum()) if counts[:, i].sum() else None,
        }
        for i in present
    ]
    rows = [("class", "pictures", "recall", "precision")]
    rows += [(str(o["name"]), str(o["pictures"]), percent(o["recall"]), percent(o["precision"])) for o in per_class]
    return Report(
        scores,
        {"classes": per_class, "calibration": bins, "confusion": counts.tolist()},
        rows,
        {
            "confusion.png": lambda charts: charts.confusion(counts, names, names),
            "calibration.png": lambda charts: charts.reliability(bins, scores["expected_calibration_error"]),
        },
    )
