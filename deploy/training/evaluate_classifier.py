"""Scores a classifier's weights file on folders of pictures, with the readable reference network.

The file is taken as the server takes it: the stored half-precision values are widened to float32,
and everything else that matters (variant, class names, preprocessing) is read from the file's own
metadata. Nothing is fitted or chosen here, so the score is that of the file. Needs torch, numpy,
pillow and safetensors.

    python deploy/training/evaluate_classifier.py deploy/models/clothing.safetensors --data FOLDER

FOLDER holds one folder a split, with one folder a class inside. `--write-metrics` puts the measured
numbers into the file's metadata; `--list` prints one line a picture.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from reference import resampling, spatial_mamba
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

SUFFIXES = {".jpg", ".jpeg", ".png"}


def list_pictures(folder: Path, classes: list[str]) -> list[tuple[Path, int]]:
    """(file, class index) in a fixed order, so that a seed means the same on every machine."""
    missing = [name for name in classes if not (folder / name).is_dir()]
    if missing:
        raise SystemExit(f"{folder} has no folder for {', '.join(missing)}")
    return [
        (file, index)
        for index, name in enumerate(classes)
        for file in sorted((folder / name).iterdir())
        if file.suffix.lower() in SUFFIXES
    ]


def read_picture(file: Path) -> np.ndarray:
    """RGB bytes [height, width, 3], upright: phones record the orientation beside the pixels."""
    with Image.open(file) as picture:
        return np.array(ImageOps.exif_transpose(picture).convert("RGB"))


def prepared(rgb: np.ndarray, preprocess: dict) -> Tensor:
    """The network's input [3, crop, crop]: short side resized, central square, normalised.

    The rounding is that of the reference pipeline: the long side is truncated, the offset rounded
    half to even."""
    short, crop = preprocess["resize_short"], preprocess["crop"]
    height, width = rgb.shape[:2]
    long = int(short * max(height, width) / min(height, width))
    new_h, new_w = (long, short) if width <= height else (short, long)
    picture = resampling.pillow_bicubic(rgb, new_h, new_w) if (new_h, new_w) != (height, width) else rgb
    top, left = round((new_h - crop) / 2), round((new_w - crop) / 2)
    picture = picture[top : top + crop, left : left + crop].astype(np.float32)
    mean, std = (np.array(preprocess[key], np.float32) for key in ("mean", "std"))
    return torch.from_numpy(np.ascontiguousarray(((picture - mean) / std).transpose(2, 0, 1)))


def predict(model: nn.Module, images: Tensor, batch: int = 64) -> Tensor:
    """Logits [pictures, classes]."""
    model.eval()
    with torch.inference_mode():
        return torch.cat([model(part).float() for part in images.split(batch)])


def load(file: Path) -> tuple[nn.Module, dict[str, str]]:
    """The network with the file's values as float32, and the file's metadata."""
    with safe_open(str(file), "pt") as stored:
        metadata = stored.metadata()
        state = {key: stored.get_tensor(key) for key in stored.keys()}
    variant = json.loads(metadata["variant"])
    model = spatial_mamba.Classifier(
        spatial_mamba.Variant(variant["dim"], tuple(variant["depths"])),
        len(json.loads(metadata["classes"])),
    )
    missing, unexpected = model.load_state_dict(
        {key: value.float() for key, value in state.items() if value.is_floating_point()},
        strict=False,
    )
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise SystemExit(f"{file}: missing {missing}, unexpected {unexpected}")
    return model.eval(), metadata


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--splits", nargs="+", default=["validation", "test"])
    parser.add_argument(
        "--list", action="store_true", help="print file, class, prediction and its probability"
    )
    parser.add_argument("--write-metrics", action="store_true")
    options = parser.parse_args()

    model, metadata = load(options.file)
    classes = [entry["name"] for entry in json.loads(metadata["classes"])]
    preprocess = json.loads(metadata["preprocess"])
    metrics: dict[str, float] = {}
    for split in options.splits:
        pictures = list_pictures(options.data / split, classes)
        images = torch.stack([prepared(read_picture(file), preprocess) for file, _ in pictures])
        labels = torch.tensor([label for _, label in pictures])
        probabilities = predict(model, images).softmax(dim=1)
        confidence, guess = probabilities.max(dim=1)
        hits = guess == labels
        metrics[f"{split}_top1"] = round(hits.float().mean().item(), 4)
        print(
            f"{split}: top-1 {100 * hits.float().mean():.1f} % ({int(hits.sum())} of {len(labels)})"
        )
        for index, name in enumerate(classes):
            own = labels == index
            right, count = int(hits[own].sum()), int(own.sum())
            print(f"  {name:12} {right:4} of {count:4}  {100 * right / count:5.1f} %")
        if options.list:
            for (file, label), g, c in zip(pictures, guess.tolist(), confidence.tolist()):
                print(
                    f"{split}/{classes[label]}/{file.name}\t{classes[label]}\t{classes[g]}\t{c:.3f}"
                )

    if options.write_metrics:
        with safe_open(str(options.file), "pt") as stored:
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}
        aside = options.file.with_suffix(".partial")
        save_file(tensors, str(aside), {**metadata, "metrics": json.dumps(metrics)})
        aside.chmod(0o644)  # the library leaves it to its owner alone
        os.replace(aside, options.file)


if __name__ == "__main__":
    main()
