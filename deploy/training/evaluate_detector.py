"""Scores a detector's weights file with the readable reference network and pycocotools.

    python deploy/training/evaluate_detector.py deploy/models/bloodcells.safetensors --data DET_BCCD/instances_test.json
    python deploy/training/evaluate_detector.py deploy/models/nuclei.safetensors --data INS_NUCLEI/test

The file is taken as the server takes it: the stored half-precision values are widened to float32, everything else is read
from the file's own metadata. Nothing is fitted or chosen here. `--write-metrics` puts the scores into the metadata.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from loop import fill, read_weights, replace_file
from operators import install
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from reference import mask_rcnn, preprocess, spatial_mamba
from torch import nn


@dataclass(frozen=True)
class Example:
    """A picture with the corners and labels of its objects, or with its instance map."""

    file: Path
    boxes: list[list[float]]
    labels: list[int]
    map: np.ndarray | None = None


def read_rgb(file: Path) -> np.ndarray:
    with Image.open(file) as picture:
        return np.array(ImageOps.exif_transpose(picture).convert("RGB"))


def coco_examples(file: Path) -> tuple[list[Example], list[dict]]:
    """Examples, and the classes as the weights file describes them."""
    truth = json.loads(file.read_text())
    categories = sorted(truth["categories"], key=lambda category: category["id"])
    index = {category["id"]: i for i, category in enumerate(categories)}
    examples = {image["id"]: Example(file.parent / image["file_name"], [], []) for image in truth["images"]}
    for note in truth["annotations"]:
        x, y, w, h = note["bbox"]
        if w > 0 and h > 0:
            examples[note["image_id"]].boxes.append([x, y, x + w, y + h])
            examples[note["image_id"]].labels.append(index[note["category_id"]])
    return list(examples.values()), [{"name": c["name"], "id": c["id"]} for c in categories]


def folder_examples(folder: Path, names: list[str]) -> tuple[list[Example], list[dict]]:
    files = sorted(folder.glob("*.jpg"))
    if not files:
        raise SystemExit(f"{folder} has no .jpg files")
    maps = [np.array(Image.open(file.with_suffix(".png"))) for file in files]
    return [Example(file, [], [], found) for file, found in zip(files, maps)], [
        {"name": name, "id": i + 1} for i, name in enumerate(names)
    ]


def truth_of(examples: list[Example], classes: list[dict]) -> dict:
    images, notes = [], []
    for number, example in enumerate(examples, 1):
        with Image.open(example.file) as picture:
            images.append({"id": number, "width": picture.width, "height": picture.height})
        if example.map is None:
            for (left, top, right, bottom), label in zip(example.boxes, example.labels):
                box = [left, top, right - left, bottom - top]
                notes.append({"bbox": box, "area": box[2] * box[3], "category_id": classes[label]["id"], "image_id": number})
        else:
            for n in range(1, int(example.map.max()) + 1):
                runs = coco_mask.encode(np.asfortranarray((example.map == n).astype(np.uint8)))
                notes.append({"segmentation": runs, "bbox": coco_mask.toBbox(runs).tolist(), "category_id": classes[0]["id"],
                              "area": int(coco_mask.area(runs)), "image_id": number})
    for number, note in enumerate(notes, 1):
        note.update(id=number, iscrowd=0)
    return {"images": images, "annotations": notes, "categories": classes}


@torch.no_grad()
def detect(network: nn.Module, rgb: np.ndarray, scale: tuple[int, int], limit: int, with_masks: bool) -> mask_rcnn.Detections:
    """The reference's `detect`, for more than its hundred objects, or without masks."""
    image, size = preprocess.detection(rgb, scale)
    maps, head = network.maps(torch.from_numpy(image)[None]), network.roi_head
    maps = [x.float().contiguous() for x in maps]
    proposals = network.rpn_head(maps, size).boxes
    height, width = rgb.shape[:2]
    nothing = torch.zeros(0, height, width, dtype=torch.bool)
    if not len(proposals):
        return mask_rcnn.Detections(proposals, torch.zeros(0, dtype=torch.long), torch.zeros(0), nothing)
    boxes, labels, scores = head.bbox_head.select(*head.bbox_head(maps, proposals), proposals, size, limit=limit)
    probabilities = head.mask_head(maps, boxes, labels) if with_masks and len(boxes) else []
    boxes = boxes / torch.tensor([size[1] / width, size[0] / height] * 2)
    masks = [mask_rcnn.paste(p, box, height, width) >= 0.5 for p, box in zip(probabilities, boxes)]
    return mask_rcnn.Detections(boxes, labels, scores, torch.stack(masks) if masks else nothing)


def average_precision(network: nn.Module, examples: list[Example], classes: list[dict], scale: tuple[int, int],
                      with_masks: bool, limit: int = 100) -> dict[str, float]:
    """AP, AP50 and AP75 of boxes and, with masks, of masks; AP50 of each class."""
    found = []
    for number, example in enumerate(examples, 1):
        result = detect(network, read_rgb(example.file), scale, limit, with_masks)
        for i, (box, label, score) in enumerate(zip(result.boxes.tolist(), result.labels.tolist(), result.scores.tolist())):
            entry = {"image_id": number, "category_id": classes[label]["id"], "score": score,
                     "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]]}
            if with_masks:
                entry["segmentation"] = coco_mask.encode(np.asfortranarray(result.masks[i].numpy().astype(np.uint8)))
            found.append(entry)
    scores: dict[str, float] = {}
    if not found:
        return {"box_AP50": 0.0}
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = truth_of(examples, classes)
        truth.createIndex()
        for kind, name in (("bbox", "box"), ("segm", "mask")):
            if kind == "segm" and not with_masks:
                continue
            run = COCOeval(truth, truth.loadRes([dict(entry) for entry in found]), kind)
            run.params.maxDets = [1, 10, limit]
            run.evaluate()
            run.accumulate()
            precision = run.eval["precision"][:, :, :, 0, -1]  # overlap, recall, class

            def mean(values: np.ndarray) -> float:
                return float(values[values > -1].mean()) if (values > -1).any() else 0.0

            scores |= {f"{name}_AP": mean(precision), f"{name}_AP50": mean(precision[0]), f"{name}_AP75": mean(precision[5])}
            if len(classes) > 1:
                scores |= {f"{name}_{c['name']}_AP50": mean(precision[0, :, i]) for i, c in enumerate(classes)}
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write-metrics", action="store_true")
    options = parser.parse_args()
    state, metadata = read_weights(options.file)
    variant, head, classes = (json.loads(metadata[key]) for key in ("variant", "head", "classes"))
    network = mask_rcnn.MaskRcnn(spatial_mamba.Variant(variant["dim"], tuple(variant["depths"])), len(classes),
                                 head["fpn_channels"], head["fc_channels"])
    if not head["masks"]:
        del network.roi_head.mask_head
    install(fill(network, state, options.file), 0.0)  # the same results, sooner
    names = [entry["name"] for entry in classes]
    examples, _ = folder_examples(options.data, names) if options.data.is_dir() else coco_examples(options.data)
    scale = tuple(json.loads(metadata["preprocess"])["scale"])
    scores = average_precision(network, examples, classes, scale, head["masks"], head["max_detections"])
    for name, value in scores.items():
        print(f"{name:24} {100 * value:.1f}")
    if options.write_metrics:
        from safetensors import safe_open
        from safetensors.torch import save_file

        with safe_open(str(options.file), "pt") as stored:
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}
        metadata["metrics"] = json.dumps({name: round(value, 4) for name, value in scores.items()})
        replace_file(options.file, lambda aside: save_file(tensors, str(aside), metadata))


if __name__ == "__main__":
    main()
