"""Scores a segmenter's weights file on pictures with label maps, with the readable reference network.

    python deploy/training/evaluate_segmenter.py deploy/models/aerial.safetensors --data SEG_AERIAL/test --ignore 0

The file is taken as the server takes it: the stored half-precision values are widened to float32, everything else is read
from the file's own metadata. Nothing is fitted or chosen here. `--write-metrics` puts the scores into the metadata.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from evaluate_detector import read_rgb
from loop import fill, read_weights, replace_file
from operators import install
from PIL import Image
from reference import preprocess, spatial_mamba, upernet
from torch import nn


def pairs_in(folder: Path) -> list[tuple[Path, Path]]:
    """Pictures X.jpg with their label maps X.png, in a fixed order."""
    files = sorted(folder.glob("*.jpg"))
    if not files:
        raise SystemExit(f"{folder} has no .jpg files")
    return [(file, file.with_suffix(".png")) for file in files]


@torch.no_grad()
def confusion(network: nn.Module, examples: list[tuple[Path, Path]], scale: tuple[int, int]) -> np.ndarray:
    """Pixels [true class, predicted class]."""
    classes = network.decode_head.conv_seg.out_channels
    counts = np.zeros((classes, classes), np.int64)
    for picture, labels in examples:
        rgb, truth = read_rgb(picture), np.array(Image.open(labels)).astype(np.int64)
        logits = network(torch.from_numpy(preprocess.segmentation(rgb, scale))[None], rgb.shape[:2])[0]
        found = logits.argmax(0).numpy()
        counts += np.bincount((truth * classes + found).ravel(), minlength=classes * classes).reshape(classes, classes)
    return counts


def scores_of(counts: np.ndarray, ignore: int = -100) -> dict[str, float]:
    """Pixel accuracy, and the mean over the classes that occur of intersection over union. True pixels of the `ignore`
    class count nowhere."""
    counts = counts.astype(np.float64)
    if ignore >= 0:
        counts[ignore] = 0
    right, union = np.diag(counts), counts.sum(0) + counts.sum(1) - np.diag(counts)
    present = counts.sum(1) > 0
    scores = {"pixel_accuracy": right.sum() / counts.sum(), "mean_iou": (right[present] / union[present]).mean()}
    return scores | {f"iou_{i}": right[i] / union[i] for i in np.flatnonzero(present)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--ignore", type=int, default=-100)
    parser.add_argument("--write-metrics", action="store_true")
    options = parser.parse_args()
    state, metadata = read_weights(options.file)
    variant, head, classes = (json.loads(metadata[key]) for key in ("variant", "head", "classes"))
    network = upernet.UperNet(spatial_mamba.Variant(variant["dim"], tuple(variant["depths"])), len(classes), head["channels"])
    install(fill(network, state, options.file), 0.0)  # the same results, sooner
    scale = tuple(json.loads(metadata["preprocess"])["scale"])
    counts = confusion(network, pairs_in(options.data), scale)
    scores = scores_of(counts, options.ignore)
    for name, value in scores.items():
        index = name.removeprefix("iou_")
        print(f"{'IoU ' + classes[int(index)]['name'] if index != name else name:24} {100 * value:.1f}")
    if options.ignore >= 0:
        print(f"with every pixel counted: pixel accuracy {100 * scores_of(counts)['pixel_accuracy']:.1f}")
    if options.write_metrics:
        from safetensors import safe_open
        from safetensors.torch import save_file

        with safe_open(str(options.file), "pt") as stored:
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}
        metadata["metrics"] = json.dumps({name: round(float(value), 4) for name, value in scores.items()})
        replace_file(options.file, lambda aside: save_file(tensors, str(aside), metadata))


if __name__ == "__main__":
    main()
