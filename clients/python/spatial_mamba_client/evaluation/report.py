"""What an evaluation says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable


@dataclass(frozen=True)
class Report:
    scores: dict[str, float]  # shares of one
    details: dict[str, Any]  # what JSON can hold
    rows: Sequence[Sequence[str]]  # a table, its header first
    charts: dict[str, Callable[[Any], Any]]  # file name: makes the figure, given the module `charts`

    def as_json(self) -> dict[str, Any]:
        return {"scores": self.scores, **self.details}


def percent(value: Any) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
