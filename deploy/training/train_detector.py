"""Trains a small Mask R-CNN on a Spatial-Mamba backbone, with or without its mask head, on a CPU or a GPU.

The bundled detectors came from

    python deploy/training/train_detector.py --data DET_BCCD/instances_train.json --out deploy/models/bloodcells.safetensors \\
        --scale 480 360 --initial deploy/models/clothing.safetensors --bf16 --epochs 48 --batch 4 --window 288 --threads 1 \\
        --negatives CLS_CLOTHING/train SEG_AERIAL/train
    python deploy/training/train_detector.py --data INS_NUCLEI/train --out deploy/models/nuclei.safetensors \\
        --scale 640 512 --initial deploy/models/clothing.safetensors --bf16 --epochs 28 --batch 4 --window 256 --threads 1 \\
        --max-detections 200 --negatives CLS_CLOTHING/train SEG_AERIAL/train

`--data` is a COCO file, whose boxes are learned, or a folder of pictures `X.jpg` with instance maps `X.png` (0 background, n
object n), whose boxes and masks are learned. Every `--held-out`-th picture is kept for watching the score; it chooses nothing:
the file holds the last averaged weights. After each epoch what resuming needs is written to `--checkpoint`; the same command
resumes. Needs torch, torchvision, numpy, pillow, safetensors and pycocotools.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from evaluate_detector import Example, average_precision, coco_examples, folder_examples, read_rgb
from loop import MEAN, STD, Training, add_options, export, half, keep_memory, start_backbone
from mask_rcnn_loss import MaskRcnnLoss, Sampling
from operators import initialise, install
from reference import mask_rcnn, preprocess, spatial_mamba
from torch import Tensor, nn
from windows import Scene, Windows, boxes_of


def scene_of(example: Example) -> Scene:
    rgb = torch.from_numpy(read_rgb(example.file)).permute(2, 0, 1).contiguous()
    if example.map is not None:
        boxes = boxes_of(example.map)
        return Scene(rgb, boxes, torch.zeros(len(boxes), dtype=torch.long), torch.from_numpy(example.map.astype(np.int64)))
    return Scene(rgb, torch.tensor(example.boxes, dtype=torch.float32).reshape(-1, 4), torch.tensor(example.labels).long())


def scenes_without_objects(folders: list[Path], with_masks: bool) -> list[Scene]:
    """Pictures of other things, in which there is nothing to find."""
    files = [file for folder in folders for file in sorted(folder.rglob("*.jpg"))]
    if folders and not files:
        raise SystemExit(f"no .jpg files in {', '.join(map(str, folders))}")
    scenes = []
    for file in files:
        rgb = torch.from_numpy(read_rgb(file)).permute(2, 0, 1).contiguous()
        nothing = torch.zeros(rgb.shape[1:], dtype=torch.long) if with_masks else None
        scenes.append(Scene(rgb, torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), nothing))
    return scenes


def fitted_zoom(scene: Scene, scale: tuple[int, int]) -> float:
    """Pixels of the network's input to a pixel of the picture, when served."""
    return preprocess.fitted_size(*scene.rgb.shape[1:], scale)[0] / scene.rgb.shape[1]


def build(options: argparse.Namespace, classes: int) -> nn.Module:
    variant = spatial_mamba.Variant(options.dim, tuple(options.depths))
    return mask_rcnn.MaskRcnn(variant, classes, options.fpn_channels, options.fc_channels)


def first_weights(network: nn.Module, options: argparse.Namespace, generator: torch.Generator) -> None:
    initialise(network, generator)
    if options.initial:
        start_backbone(network, options.initial)
    for layer in (network.rpn_head.rpn_cls, network.rpn_head.rpn_reg, network.roi_head.bbox_head.fc_cls,
                  network.roi_head.bbox_head.fc_reg, network.roi_head.mask_head.conv_logits):
        nn.init.normal_(layer.weight, std=0.01, generator=generator)


def served(state: dict[str, Tensor], with_masks: bool) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if with_masks or ".mask_head." not in key}


def train(options: argparse.Namespace) -> None:
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    with_masks = options.data.is_dir()
    examples, names = folder_examples(options.data, options.class_names) if with_masks else coco_examples(options.data)
    held_out = examples[:: options.held_out]
    learned = [example for index, example in enumerate(examples) if index % options.held_out]
    scenes = [scene_of(example) for example in learned]
    zooms = [fitted_zoom(scene, tuple(options.scale)) for scene in scenes]
    others = scenes_without_objects(options.negatives, with_masks)
    windows = Windows(options.window, tuple(options.spread), generator)

    model, average = build(options, len(names)), build(options, len(names))
    first_weights(model, options, generator)
    for network in (model, average):
        install(network, options.drop_path)
    losses = MaskRcnnLoss(model, Sampling(), generator, options.bf16)
    training = Training(model, average, generator, options)
    print(f"{len(learned)} pictures to learn from, {len(held_out)} to watch, {len(names)} classes, "
          f"{len(others)} pictures of other things", flush=True)

    def window(index: int) -> Scene:
        if others and windows.uniform(0, 1) < options.negative_share:
            other = others[int(windows.uniform(0, len(others)))]
            # Small pictures are enlarged when served, which blurs them; sharp ones have to be known too.
            return windows.of(other, fitted_zoom(other, tuple(options.scale)) ** windows.uniform(0, 1))
        return windows.of(scenes[index], zooms[index])

    def batches() -> Iterator[list[Scene]]:
        order = torch.randperm(len(scenes), generator=generator)
        for part in order[: len(order) // options.batch * options.batch].split(options.batch):
            yield [window(index) for index in part.tolist()]

    def score(network: nn.Module) -> str:
        found = average_precision(network, held_out, names, tuple(options.scale), with_masks)
        return " ".join(f"{name} {100 * value:.1f}" for name, value in found.items() if name.endswith("50"))

    training.run(len(scenes) // options.batch, batches, losses, score)

    export(options.out, served(average.state_dict(), with_masks), {
        "task": "detect",
        "variant": {"dim": options.dim, "depths": options.depths},
        "head": {"fpn_channels": options.fpn_channels, "fc_channels": options.fc_channels, "masks": with_masks,
                 "max_detections": options.max_detections},
        "classes": names,
        "preprocess": {"scale": options.scale, "pad": 32, "mean": MEAN, "std": STD, "orientation": "apply"},
        "description": options.description,
        "licence": options.licence,
    })
    print(f"wrote {options.out}: {options.out.stat().st_size / 1e6:.2f} MB, {len(half(average.state_dict()))} tensors")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    add_options(parser)
    parser.add_argument("--scale", type=int, nargs=2, default=[640, 512], help="longest and shortest side when served")
    parser.add_argument("--window", type=int, default=256, help="side of a training window, in the network's pixels")
    parser.add_argument("--spread", type=float, nargs=2, default=[0.75, 1.33], help="range of the windows' zoom")
    parser.add_argument("--fpn-channels", type=int, default=48)
    parser.add_argument("--fc-channels", type=int, default=128)
    parser.add_argument("--max-detections", type=int, default=100)
    parser.add_argument("--class-names", nargs="+", default=["nucleus"], help="of instance maps")
    parser.add_argument("--negatives", type=Path, nargs="+", default=[], metavar="FOLDER", help="pictures with nothing to find")
    parser.add_argument("--negative-share", type=float, default=0.2, help="of the windows")
    parser.add_argument("--held-out", type=int, default=10)
    parser.add_argument("--description", default="")
    parser.add_argument("--licence", default="weights: Apache-2.0")
    return parser.parse_args()


def main() -> None:
    options = parse()
    keep_memory()
    if options.threads:
        torch.set_num_threads(options.threads)
    train(options)


if __name__ == "__main__":
    main()
