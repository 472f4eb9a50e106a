"""Pictures of scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

BLUE, GREY = "#2563eb", "#94a3b8"
LEGIBLE_CLASSES = 24  # more get no names and numbers in a confusion matrix


def confusion(counts: Any, rows: Sequence[str], columns: Sequence[str]) -> Figure:
    """A confusion matrix, shaded by the share of the row."""
    total = counts.sum(1, keepdims=True)
    shares = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)
    side = 3.2 + 0.45 * min(len(rows), LEGIBLE_CLASSES)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained", dpi=120)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="said", ylabel="true")
    if len(rows) <= LEGIBLE_CLASSES:
        axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
        axes.set_yticks(range(len(rows)), rows)
        for (row, column), share in np.ndenumerate(shares):
            if counts[row, column]:
                colour = "white" if share > 0.5 else "black"
                axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=colour, fontsize=8)
    figure.colorbar(image, label="share of the true class", shrink=0.8)
    return figure


def precision_recall(curves: dict[str, list[float]], areas: dict[str, Any], kind: str) -> Figure:
    """Precision over recall at overlap .5, a line for each class; with many classes only their mean."""
    figure = Figure(figsize=(6, 5), layout="constrained", dpi=120)
    axes = figure.add_subplot()
    recall = np.linspace(0, 1, 101)
    known = {name: np.array(curve) for name, curve in curves.items() if min(curve) > -1}
    if len(known) <= 10:
        for name, curve in known.items():
            axes.plot(recall, curve, label=f"{name}  {100 * areas[name]:.1f}")
    if len(known) > 1:
        mean = np.mean(list(known.values()), axis=0)
        axes.plot(recall, mean, color="black", linewidth=2, label=f"mean  {100 * mean.mean():.1f}")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision", title=f"{kind}, overlap at least 0.5 (AP50)")
    axes.grid(alpha=0.3)
    if known:
        axes.legend(loc="lower left")
    return figure


def reliability(bins: Sequence[dict[str, float]], error: float) -> Figure:
    """Accuracy over confidence: on the diagonal, a model is as sure as it is right."""
    figure = Figure(figsize=(5, 5), layout="constrained", dpi=120)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
    most = max(one["count"] for one in bins)
    sizes = [20 + 180 * one["count"] / most for one in bins]
    axes.scatter([one["confidence"] for one in bins], [one["accuracy"] for one in bins], s=sizes, color=BLUE, alpha=0.8)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy", aspect="equal")
    axes.set_title(f"expected calibration error {100 * error:.1f} %; area: pictures")
    axes.grid(alpha=0.3)
    return figure
