"""What Mask R-CNN learns from, batched over equal windows.

Matching, sampling and losses are those of the papers and of mmdet's default configuration: Faster R-CNN (arXiv
1506.01497: anchors at overlap .7 / .3 with the best anchor of each object, 256 sampled, half of them positive; regions at
overlap .5, a quarter of the sample positive), FPN (arXiv 1612.03144) and Mask R-CNN (arXiv 1703.06870: binary cross
entropy of the true class's 28 x 28 map). Box deltas are learned by L1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from reference import mask_rcnn
from torch import Tensor
from torchvision.ops import box_iou, roi_align
from windows import Scene

DELTA_SCALE = torch.tensor([0.1, 0.1, 0.2, 0.2])  # of the box head, as the reference decodes them


@dataclass(frozen=True)
class Sampling:
    anchors: int = 256
    regions: int = 128
    positive_regions: float = 0.25
    proposals: int = 400


def deltas_of(boxes: Tensor, targets: Tensor) -> Tensor:
    """The inverse of the reference's `decode`."""
    size, wanted = boxes[:, 2:] - boxes[:, :2], targets[:, 2:] - targets[:, :2]
    centre, other = (boxes[:, 2:] + boxes[:, :2]) / 2, (targets[:, 2:] + targets[:, :2]) / 2
    return torch.cat([(other - centre) / size, (wanted / size).log()], 1)


def match(boxes: Tensor, truth: Tensor, positive: float, negative: float, lowest: float | None) -> Tensor:
    """For each box the index of its object, -1 for background, -2 for neither. With `lowest`, the best boxes of an
    object are its own even below `positive`, if they overlap it by `lowest`."""
    if not len(truth):
        return torch.full((len(boxes),), -1)
    overlap = box_iou(boxes, truth)
    best, index = overlap.max(1)
    matched = torch.full_like(index, -2)
    matched[best < negative] = -1
    matched[best >= positive] = index[best >= positive]
    if lowest is not None:
        peak = overlap.max(0).values
        rows, objects = ((overlap == peak) & (peak >= lowest)).nonzero(as_tuple=True)
        matched[rows] = objects
    return matched


def sample(matched: Tensor, count: int, positive_share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Indices of positives and negatives, at random."""

    def some(candidates: Tensor, limit: int) -> Tensor:
        return candidates[torch.randperm(len(candidates), generator=generator)[:limit]]

    positives = some((matched >= 0).nonzero()[:, 0], int(count * positive_share))
    return positives, some((matched == -1).nonzero()[:, 0], count - len(positives))


def pooled(maps: list[Tensor], boxes: list[Tensor], size: int) -> Tensor:
    """The reference's `pooled` over the pictures of a batch: [all boxes, channels, size, size]."""
    flat = torch.cat(boxes)
    owner = torch.cat([torch.full((len(part), 1), float(i)) for i, part in enumerate(boxes)])
    scale = ((flat[:, 2] - flat[:, 0]) * (flat[:, 3] - flat[:, 1])).sqrt()
    levels = (scale / 56 + 1e-6).log2().floor().clamp(0, 3).long()
    out = maps[0].new_zeros(len(flat), maps[0].shape[1], size, size)
    for level in range(4):
        members = (levels == level).nonzero()[:, 0]
        if len(members):
            regions = torch.cat([owner[members], flat[members]], 1).to(out)
            part = roi_align(maps[level], regions, size, 1 / mask_rcnn.STRIDES[level], sampling_ratio=0, aligned=True)
            out = out.index_put((members.to(out.device),), part)
    return out


class MaskRcnnLoss:
    def __init__(self, network: mask_rcnn.MaskRcnn, sampling: Sampling, generator: torch.Generator, bf16: bool):
        self.network, self.sampling, self.generator, self.bf16 = network, sampling, generator, bf16

    def __call__(self, batch: list[Scene]) -> dict[str, Tensor]:
        device = next(self.network.parameters()).device
        images = torch.stack([scene.rgb for scene in batch]).to(device, memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            maps = self.network.maps(images)
            scores, deltas = self._region_outputs(maps)
        maps = [x.float() for x in maps]
        anchors = torch.cat([mask_rcnn.anchors(*x.shape[2:], s) for x, s in zip(maps, mask_rcnn.STRIDES)])
        levels = torch.cat([torch.full((3 * x.shape[2] * x.shape[3],), i) for i, x in enumerate(maps)])
        size = tuple(images.shape[2:])
        losses = self._region_losses(anchors, scores, deltas, batch)
        with torch.no_grad():
            boxes = [
                self._proposals(anchors, levels, scores[i], deltas[i], size) for i in range(len(batch))
            ]
        return losses | self._head_losses(maps, boxes, batch)

    def _region_outputs(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Objectness [batch, anchors] and deltas [batch, anchors, 4], on the CPU, as float32."""
        head, scores, deltas = self.network.rpn_head, [], []
        for x in maps:
            x = F.relu(head.rpn_conv(x))
            scores.append(head.rpn_cls(x).permute(0, 2, 3, 1).flatten(1))
            deltas.append(head.rpn_reg(x).permute(0, 2, 3, 1).reshape(len(x), -1, 4))
        return torch.cat(scores, 1).float().cpu(), torch.cat(deltas, 1).float().cpu()

    def _region_losses(self, anchors: Tensor, scores: Tensor, deltas: Tensor, batch: list[Scene]) -> dict[str, Tensor]:
        objectness, shape, count = [], [], 0
        for i, scene in enumerate(batch):
            matched = match(anchors, scene.boxes, 0.7, 0.3, lowest=0.3)
            positives, negatives = sample(matched, self.sampling.anchors, 0.5, self.generator)
            chosen = torch.cat([positives, negatives])
            wanted = (torch.arange(len(chosen)) < len(positives)).float()
            objectness.append(F.binary_cross_entropy_with_logits(scores[i, chosen], wanted, reduction="sum"))
            targets = deltas_of(anchors[positives], scene.boxes[matched[positives]])
            shape.append(F.l1_loss(deltas[i, positives], targets, reduction="sum"))
            count += len(chosen)
        return {"region": sum(objectness) / count, "region_box": sum(shape) / count}

    def _proposals(self, anchors: Tensor, levels: Tensor, scores: Tensor, deltas: Tensor, size: tuple[int, int]) -> Tensor:
        limit, chosen = self.sampling.proposals, []
        for level in range(5):
            members = (levels == level).nonzero()[:, 0]
            chosen.append(members[scores[members].topk(min(limit, len(members))).indices])
        best = torch.cat(chosen)
        boxes = mask_rcnn.decode(anchors[best], deltas[best], size)
        valid = (boxes[:, 2] - boxes[:, 0] > 1) & (boxes[:, 3] - boxes[:, 1] > 1)
        boxes, best = boxes[valid], best[valid]
        return boxes[mask_rcnn.grouped_nms(boxes, scores[best], levels[best], 0.7)[:limit]] if len(boxes) else boxes

    def _head_losses(self, maps: list[Tensor], proposals: list[Tensor], batch: list[Scene]) -> dict[str, Tensor]:
        head, device = self.network.roi_head, maps[0].device
        regions, labels, targets, kept = [], [], [], []
        for boxes, scene in zip(proposals, batch):
            boxes = torch.cat([boxes, scene.boxes])  # the objects themselves, so that there are positives from the start
            matched = match(boxes, scene.boxes, 0.5, 0.5, lowest=None)
            chosen = sample(matched, self.sampling.regions, self.sampling.positive_regions, self.generator)
            positives, count = chosen[0], len(chosen[0])
            regions.append(boxes[torch.cat(chosen)])
            background = torch.full((len(chosen[1]),), head.bbox_head.classes)
            labels.append(torch.cat([scene.labels[matched[positives]], background]))
            targets.append(deltas_of(regions[-1][:count], scene.boxes[matched[positives]]) / DELTA_SCALE)
            kept.append((regions[-1][:count], matched[positives]))
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            x = pooled(maps, regions, 7).flatten(1)
            for layer in head.bbox_head.shared_fcs:
                x = F.relu(layer(x))
            logits, deltas = head.bbox_head.fc_cls(x).float(), head.bbox_head.fc_reg(x).float()
        label, target = torch.cat(labels).to(device), torch.cat(targets).to(device)
        found = (label < head.bbox_head.classes).nonzero()[:, 0]
        deltas = deltas.view(len(label), -1, 4)[found, label[found]]
        losses = {
            "class": F.cross_entropy(logits, label),
            "box": F.l1_loss(deltas, target, reduction="sum") / len(label),
        }
        if batch[0].map is not None:
            losses["mask"] = self._mask_loss(maps, kept, label[found], batch)
        return losses

    def _mask_loss(self, maps: list[Tensor], kept: list[tuple[Tensor, Tensor]], labels: Tensor, batch: list[Scene]) -> Tensor:
        if not len(labels):
            return maps[0].sum() * 0
        head, wanted = self.network.roi_head.mask_head, []
        for (boxes, objects), scene in zip(kept, batch):
            if len(boxes):  # the map may be coarser than the window
                ratio = scene.map.shape[0] / scene.rgb.shape[1]
                masks = (scene.map[None] == objects[:, None, None] + 1).float()[:, None]
                own = torch.arange(len(boxes), dtype=torch.float32)[:, None]
                wanted.append(roi_align(masks, torch.cat([own, boxes * ratio], 1), 28, 1.0, sampling_ratio=0, aligned=True))
        with torch.autocast(maps[0].device.type, torch.bfloat16, enabled=self.bf16):
            x = pooled(maps, [boxes for boxes, _ in kept], 14)
            for conv in head.convs:
                x = F.relu(conv(x))
            logits = head.conv_logits(F.relu(head.upsample(x))).float()
        logits = logits[torch.arange(len(labels)), labels]
        return F.binary_cross_entropy_with_logits(logits, (torch.cat(wanted)[:, 0] >= 0.5).float().to(logits.device))
