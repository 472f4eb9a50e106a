"""Tables of text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(rows: Iterable[Sequence[str]], right: Sequence[int]) -> str:
    """Columns as wide as their widest cell; those in `right` are set flush right."""
    lines = [[cell if cell.isprintable() else ascii(cell)[1:-1] for cell in row] for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    pads = [str.rjust if column in right else str.ljust for column in range(len(widths))]
    return "\n".join("  ".join(pad(cell, width) for pad, cell, width in zip(pads, line, widths)).rstrip() for line in lines)
