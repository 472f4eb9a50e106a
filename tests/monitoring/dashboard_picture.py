"""Draws the panels of a Grafana dashboard from data of Prometheus, at the places that they have in Grafana."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  # the backend has to be chosen first
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.ticker import EngFormatter, PercentFormatter  # noqa: E402

History = Callable[[str], list[dict[str, Any]]]
UNITS = {"s": "s", "bytes": "B", "reqps": "req/s", "ops": "/s"}
ROW_HEIGHT = 0.42  # inches of one unit of Grafana's grid; its width is 24 units


def legend(template: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), template).strip()


def draw_lines(axes: Axes, panel: dict[str, Any], history: History, begun: float) -> None:
    stacked, lines = [], 0
    for target in panel["targets"]:
        for series in history(target["expr"]):
            x = [time - begun for time, _ in series["values"]]
            y = [float(value) for _, value in series["values"]]
            stacked.append((x, y))
            axes.plot(x, y, linewidth=1.2, label=legend(target["legendFormat"], series["metric"]) or None)
            lines += 1
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds", fontsize=6)
    if 1 < lines:
        axes.legend(fontsize=5, ncols=3, loc="upper left", framealpha=0.6)
    if not lines:
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", color="grey")


def draw_table(axes: Axes, panel: dict[str, Any], history: History) -> None:
    axes.axis("off")
    rows = [series["metric"] for series in history(panel["targets"][0]["expr"])]
    columns = ["model", "task", "variant", "precision", "version"]
    if rows:
        axes.table([[row.get(column, "") for column in columns] for row in rows], colLabels=columns, loc="center")


def draw_number(axes: Axes, panel: dict[str, Any], history: History, form: Callable[[float], str]) -> None:
    """The value in the middle of the time, and the history. (Grafana shows the last one, when the load has ended here.)"""
    axes.axis("off")
    series = history(panel["targets"][0]["expr"])
    if series:
        y = [float(value) for _, value in series[0]["values"]]
        axes.fill_between(range(len(y)), y, color="tab:green", alpha=0.15, linewidth=0)
        middle = [value for value in y if math.isfinite(value)]
        axes.text(0.5, 0.45, form(middle[len(middle) // 2]), transform=axes.transAxes, ha="center", fontsize=15,
                  color="tab:green")


def draw_panels(dashboard: dict[str, Any], history: History, begun: float, file: Path) -> None:
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    figure = plt.figure(figsize=(14, height * ROW_HEIGHT))
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        left, top = place["x"] / 24, 1 - place["y"] / height
        if panel["type"] == "row":
            figure.text(left + 0.01, top - 0.5 / height, panel["title"], fontsize=11, weight="bold", va="center")
            continue
        axes = figure.add_axes((left + 0.035, top - (place["h"] - 1.3) / height, place["w"] / 24 - 0.05,
                                (place["h"] - 2.5) / height))
        axes.set_title(panel["title"], fontsize=8, loc="left")
        axes.tick_params(labelsize=6)
        unit = panel["fieldConfig"]["defaults"]["unit"]
        form = PercentFormatter(1.0) if unit == "percentunit" else EngFormatter(UNITS.get(unit, ""))
        axes.yaxis.set_major_formatter(form)
        if panel["type"] == "table":
            draw_table(axes, panel, history)
        elif panel["type"] == "stat":
            draw_number(axes, panel, history, lambda value, form=form: form(value))
        else:
            draw_lines(axes, panel, history, begun)
    figure.savefig(file, dpi=70)
