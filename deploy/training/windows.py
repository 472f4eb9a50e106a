"""Training windows: random parts of pictures, turned, resized and recoloured, with what is in them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from loop import MEAN, STD
from torch import Tensor


@dataclass(frozen=True)
class Scene:
    """A picture and its truth. `rgb`: uint8 [3, height, width]. Detection: boxes [count, 4] (left, top, right, bottom)
    in pixels, labels [count], and with masks `map`, whose value n + 1 is object n. Segmentation: `map` of class indices.
    """

    rgb: Tensor
    boxes: Tensor | None = None
    labels: Tensor | None = None
    map: Tensor | None = None


def dihedral(x: Tensor, turn: int) -> Tensor:
    """One of the eight ways to lay a [..., size, size] square."""
    x = x.flip(-1) if turn & 4 else x
    return torch.rot90(x, turn & 3, (-2, -1))


def dihedral_boxes(boxes: Tensor, turn: int, size: float) -> Tensor:
    left, top, right, bottom = boxes.unbind(1)
    if turn & 4:
        left, right = size - right, size - left
    for _ in range(turn & 3):  # counter-clockwise: what was right is at the top
        left, top, right, bottom = top, size - right, bottom, size - left
    return torch.stack([left, top, right, bottom], 1)


class Windows:
    """Square windows of `size` pixels of the network's input. `zoom` is the input's pixels to a picture's pixel when
    served; the window's own zoom differs from it by a random factor in `spread`."""

    def __init__(self, size: int, spread: tuple[float, float], generator: torch.Generator, tint: float = 0.1):
        self.size, self.spread, self.generator, self.tint = size, spread, generator, tint

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=self.generator).item()

    def recoloured(self, x: Tensor) -> Tensor:
        """Brightness, contrast, saturation and tint of values 0..255; then normalised."""
        x = x * self.uniform(0.75, 1.25) * (1 + self.tint * (2 * torch.rand(3, 1, 1, generator=self.generator) - 1))
        mean = x.mean()
        x = mean + (x - mean) * self.uniform(0.7, 1.3)
        grey = x.mean(0, keepdim=True)
        x = (grey + (x - grey) * self.uniform(0.6, 1.4)).clamp(0, 255)
        return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)

    def of(self, scene: Scene, zoom: float) -> Scene:
        """`rgb` of the result is float32, normalised. Objects of which less than a third is in the window are left out;
        what is left of the others is what there is to find."""
        _, height, width = scene.rgb.shape
        zoom = zoom * math.exp(self.uniform(math.log(self.spread[0]), math.log(self.spread[1])))
        side = max(1, round(self.size / zoom))
        rgb, found = scene.rgb.float(), scene.map
        below, beside = max(0, side - height), max(0, side - width)
        if below or beside:  # a window larger than the picture ends in what padding is when served: the mean
            rgb = torch.stack([F.pad(plane, (0, beside, 0, below), value=mean) for plane, mean in zip(rgb, MEAN)])
            found = None if found is None else F.pad(found, (0, beside, 0, below))
        top = int(self.uniform(0, rgb.shape[1] - side + 1))
        left = int(self.uniform(0, rgb.shape[2] - side + 1))
        turn = int(self.uniform(0, 8))
        rgb = dihedral(rgb[:, top : top + side, left : left + side], turn)
        rgb = F.interpolate(rgb[None], (self.size, self.size), mode="bilinear", align_corners=False)[0]
        if found is not None:
            found = dihedral(found[top : top + side, left : left + side], turn)
        boxes, labels = scene.boxes, scene.labels
        if boxes is not None:
            moved = (boxes - torch.tensor([left, top, left, top])).clamp(0, side)
            share = extent(moved) / extent(boxes)
            kept = (share > 1 / 3) & (extent(moved) > 4)
            boxes, labels = dihedral_boxes(moved[kept], turn, side) * (self.size / side), labels[kept]
            if found is not None:  # renumber what was kept
                numbers = torch.zeros(len(kept) + 1, dtype=found.dtype)
                numbers[1:][kept] = torch.arange(1, int(kept.sum()) + 1, dtype=found.dtype)
                found = numbers[found]
        return Scene(self.recoloured(rgb).contiguous(), boxes, labels, found)


def extent(boxes: Tensor) -> Tensor:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def boxes_of(found: np.ndarray) -> Tensor:
    """The tight box of each object 1..n of an instance map; an object without pixels is an error of the data."""
    boxes = []
    for number in range(1, int(found.max()) + 1):
        rows, columns = np.nonzero(found == number)
        if not len(rows):
            raise ValueError(f"the map has no object {number} though it has object {int(found.max())}")
        boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    return torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
