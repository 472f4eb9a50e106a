"""Masks of instances in the forms that a server sends them in."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

if TYPE_CHECKING:
    import numpy


@dataclass(frozen=True)
class RleMask:
    """COCO's compressed run lengths."""

    height: int
    width: int
    counts: bytes

    def to_coco(self) -> dict[str, Any]:
        return {"size": [self.height, self.width], "counts": self.counts.decode("ascii")}

    def to_array(self) -> numpy.ndarray[Any, Any]:
        """Whether each pixel is set, [height, width]. Needs numpy."""
        import numpy

        lengths = _run_lengths(self.counts)
        if sum(lengths) != self.height * self.width:
            raise ValueError(f"the runs of the mask do not add up to {self.height} x {self.width} pixels")
        values = numpy.arange(len(lengths)) % 2 == 1
        return numpy.repeat(values, lengths).reshape(self.width, self.height).T


@dataclass(frozen=True)
class PolygonMask:
    """Outlines of the parts, each x0, y0, x1, y1, ...; holes are not in it."""

    height: int
    width: int
    polygons: tuple[tuple[float, ...], ...]

    def to_coco(self) -> list[list[float]]:
        return [list(polygon) for polygon in self.polygons]

    def to_array(self) -> numpy.ndarray[Any, Any]:
        """Whether each pixel is set, [height, width], holes filled. Needs numpy."""
        import numpy

        filled = numpy.zeros((self.height, self.width), bool)
        for polygon in self.polygons:
            # A pixel is inside if an odd number of upright edges lies left of its centre. The corners are whole numbers.
            turns = numpy.zeros((self.height, self.width + 1), bool)
            corners = numpy.asarray(polygon, float).reshape(-1, 2).round().astype(int)
            for (x0, y0), (x1, y1) in zip(corners, numpy.roll(corners, -1, axis=0)):
                if x0 == x1:
                    turns[min(y0, y1) : max(y0, y1), x0] ^= True
            filled |= numpy.logical_xor.accumulate(turns, axis=1)[:, : self.width]
        return filled


@dataclass(frozen=True)
class PngMask:
    """A PNG file, one channel, 0 or 255, of the picture's size."""

    data: bytes

    def to_coco(self) -> Any:
        raise ValueError("COCO knows no PNG masks: ask the server for mask_encoding='coco_rle'")

    def to_array(self) -> numpy.ndarray[Any, Any]:
        """Whether each pixel is set, [height, width]. Needs Pillow and numpy."""
        import numpy
        import PIL.Image

        return numpy.asarray(PIL.Image.open(io.BytesIO(self.data))) > 0


Mask = Union[RleMask, PolygonMask, PngMask]


def from_message(message: Any, size: Any) -> Mask | None:
    kind = message.WhichOneof("encoding")
    if kind == "coco_rle":
        return RleMask(message.coco_rle.height, message.coco_rle.width, message.coco_rle.counts)
    if kind == "polygon":
        return PolygonMask(size.height, size.width, tuple(tuple(part.xy) for part in message.polygon.polygons))
    if kind == "png":
        return PngMask(message.png)
    return None  # a newer server may know more


def _run_lengths(counts: bytes) -> list[int]:
    """Numbers of five bits a byte, lowest first; from the third on each is the difference to the one before last."""
    lengths: list[int] = []
    position = 0
    while position < len(counts):
        value = shift = 0
        more = True
        while more:
            if position == len(counts):
                raise ValueError("the run lengths of the mask are cut off")
            group = counts[position] - 48
            value |= (group & 31) << shift
            more = bool(group & 32)
            position += 1
            shift += 5
            if not more and group & 16:
                value |= -1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
    return lengths
