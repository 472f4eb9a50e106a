"""Trains a small UPerNet on a Spatial-Mamba backbone, on a CPU or a GPU.

The bundled segmenter came from

    python deploy/training/train_segmenter.py --data SEG_AERIAL/train --out deploy/models/aerial.safetensors \\
        --class-names unlabeled building land road vegetation water --ignore 0 \\
        --colours 9e9e9e e0533d d9b26f 8d99ae 4caf50 2f80ed \\
        --initial deploy/models/clothing.safetensors --bf16 --epochs 70 --threads 1

`--data` is a folder of pictures `X.jpg` with maps of class indices `X.png`. Pixels of the `--ignore` class are not learned
from. Every `--held-out`-th picture is kept for watching the score; it chooses nothing: the file holds the last averaged
weights. After each epoch what resuming needs is written to `--checkpoint`; the same command resumes. Needs torch, torchvision,
numpy, pillow and safetensors.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from evaluate_segmenter import confusion, pairs_in, scores_of
from loop import MEAN, STD, Training, add_options, export, keep_memory, start_backbone
from operators import initialise, install
from PIL import Image
from reference import preprocess, spatial_mamba, upernet
from torch import Tensor, nn
from windows import Scene, Windows


def scene_of(picture: Path, labels: Path) -> Scene:
    with Image.open(picture) as opened:
        rgb = torch.from_numpy(np.array(opened.convert("RGB"))).permute(2, 0, 1).contiguous()
    return Scene(rgb, map=torch.from_numpy(np.array(Image.open(labels)).astype(np.int64)))


def batch_loss(network: nn.Module, options: argparse.Namespace, batch: list[Scene]) -> dict[str, Tensor]:
    """Cross entropy of the logits, enlarged to the window as when served. The truth is brought to the window's size by
    the nearest pixel."""
    images = torch.stack([scene.rgb for scene in batch]).to(options.device, memory_format=torch.channels_last)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=options.bf16):
        logits = network.decode_head(network.backbone(images))
    logits = upernet.bilinear(logits.float(), images.shape[2:])
    truth = torch.stack([
        F.interpolate(scene.map[None, None].float(), images.shape[2:], mode="nearest-exact")[0, 0].long() for scene in batch
    ])
    return {"cross_entropy": F.cross_entropy(logits, truth.to(options.device), ignore_index=options.ignore)}


def train(options: argparse.Namespace) -> None:
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    examples = pairs_in(options.data)
    held_out = examples[:: options.held_out]
    learned = [pair for index, pair in enumerate(examples) if index % options.held_out]
    scenes, scale = [scene_of(*pair) for pair in learned], tuple(options.scale)
    highest = max(int(scene.map.max()) for scene in scenes)
    if highest >= len(options.class_names):
        raise SystemExit(f"{options.data} has class {highest}, but --class-names names {len(options.class_names)}")
    zooms = [preprocess.fitted_size(*scene.rgb.shape[1:], scale)[0] / scene.rgb.shape[1] for scene in scenes]
    windows = Windows(options.window, tuple(options.spread), generator)

    variant = spatial_mamba.Variant(options.dim, tuple(options.depths))
    model, average = (upernet.UperNet(variant, len(options.class_names), options.channels) for _ in range(2))
    initialise(model, generator)
    if options.initial:
        start_backbone(model, options.initial)
    for network in (model, average):
        install(network, options.drop_path)
    training = Training(model, average, generator, options)
    print(f"{len(learned)} pictures to learn from, {len(held_out)} to watch", flush=True)

    def batches() -> Iterator[list[Scene]]:
        order = torch.randperm(len(scenes), generator=generator)
        for part in order[: len(order) // options.batch * options.batch].split(options.batch):
            yield [windows.of(scenes[index], zooms[index]) for index in part.tolist()]

    def score(network: nn.Module) -> str:
        found = scores_of(confusion(network, held_out, scale), options.ignore)
        return f"pixel accuracy {100 * found['pixel_accuracy']:.1f} mIoU {100 * found['mean_iou']:.1f}"

    training.run(len(scenes) // options.batch, batches, lambda batch: batch_loss(model, options, batch), score)

    export(options.out, average.state_dict(), {
        "task": "segment",
        "variant": {"dim": options.dim, "depths": options.depths},
        "head": {"channels": options.channels, "pool_scales": list(upernet.POOLS)},
        "classes": [{"name": name} | ({"color": colour} if colour else {})
                    for name, colour in zip(options.class_names, options.colours)],
        "preprocess": {"scale": options.scale, "mean": MEAN, "std": STD, "orientation": "apply"},
        "description": options.description,
        "licence": options.licence,
    })
    print(f"wrote {options.out}: {options.out.stat().st_size / 1e6:.2f} MB")


def parse() -> argparse.Namespace:
    def colour(text: str) -> list[int]:
        return [int(text[i : i + 2], 16) for i in (0, 2, 4)]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    add_options(parser)
    parser.set_defaults(batch=8, epochs=60)
    parser.add_argument("--class-names", nargs="+", required=True)
    parser.add_argument("--colours", nargs="+", type=colour, default=[], metavar="RRGGBB", help="of the classes, when drawn")
    parser.add_argument("--ignore", type=int, default=-100, help="class whose pixels are not learned from")
    parser.add_argument("--scale", type=int, nargs=2, default=[256, 256], help="longest and shortest side when served")
    parser.add_argument("--window", type=int, default=192, help="side of a training window, in the network's pixels")
    parser.add_argument("--spread", type=float, nargs=2, default=[0.75, 1.5], help="range of the windows' zoom")
    parser.add_argument("--channels", type=int, default=48)
    parser.add_argument("--held-out", type=int, default=10)
    parser.add_argument("--description", default="")
    parser.add_argument("--licence", default="weights: Apache-2.0")
    options = parser.parse_args()
    options.colours = options.colours or [None] * len(options.class_names)
    if len(options.colours) != len(options.class_names):
        parser.error(f"{len(options.colours)} colours for {len(options.class_names)} classes")
    return options


def main() -> None:
    options = parse()
    keep_memory()
    if options.threads:
        torch.set_num_threads(options.threads)
    train(options)


if __name__ == "__main__":
    main()
