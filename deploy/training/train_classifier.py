"""Trains a small Spatial-Mamba classifier from scratch on a folder of pictures, on a CPU or a GPU.

The bundled clothing weights came from

    python deploy/training/train_classifier.py --data FOLDER --out deploy/models/clothing.safetensors \\
        --epochs 80 --sizes 0.4:64 0.75:80 1:112 --mixup 0.2 --cutmix 0.3 --bf16 --threads 2

FOLDER (`--data`) holds `train`, `validation` and `test`, each with one folder a class. Only `train`
is learned from; the validation accuracy picks the epoch and the size of the final crop; `test` is
not opened (evaluate_classifier.py does that, on the finished file). After each epoch everything
needed to go on is written to `--checkpoint`; the same command resumes.

The network is the readable reference under tests/oracle, so a weight means the same here as when it
is served, with the operators of operators.py, which train faster with equal results.

Needs torch, numpy, pillow and safetensors.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from evaluate_classifier import list_pictures, load, predict, prepared, read_picture
from loop import MEAN, STD, bar, export, follow, keep_memory, optimiser_for, rate_at, replace_file
from operators import initialise, install
from reference import spatial_mamba
from torch import Tensor, nn

# ---- Pictures ------------------------------------------------------------------------------------


class Augmenter:
    """Batches of randomly cropped, turned and recoloured pictures, all from one generator."""

    def __init__(
        self,
        pictures: list[np.ndarray],
        labels: list[int],
        classes: int,
        options: argparse.Namespace,
        generator: torch.Generator,
    ):
        self.pictures = [
            torch.from_numpy(picture).permute(2, 0, 1) for picture in pictures
        ]  # channels-last views
        self.labels = F.one_hot(torch.tensor(labels), classes).float()
        self.options, self.generator = options, generator

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.rand(shape, generator=self.generator) * (high - low) + low

    def crop(self, picture: Tensor, size: int) -> Tensor:
        """Random part of at least `--min-scale` of the area, mildly stretched."""
        _, height, width = picture.shape
        for _ in range(10):
            scale, stretch, v, u = self.uniform(4).tolist()
            area = height * width * (self.options.min_scale + scale * (1 - self.options.min_scale))
            ratio = math.exp((2 * stretch - 1) * math.log(4 / 3))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if w <= width and h <= height:
                top, left = int(v * (height - h + 1)), int(u * (width - w + 1))
                picture = picture[:, top : top + h, left : left + w]
                break
        return F.interpolate(picture[None], (size, size), mode="bilinear", antialias=True)[0]

    def turned(self, x: Tensor) -> Tensor:
        """Half of the pictures rotated (up to 20 degrees) and sheared a little; half mirrored."""
        count = len(x)
        on = (self.uniform(count) < 0.5).float()
        angle, shear = (
            self.uniform(count, low=-0.35, high=0.35) * on,
            self.uniform(count, low=-0.2, high=0.2) * on,
        )
        mirror = torch.where(self.uniform(count) < 0.5, -1.0, 1.0)
        cos, sin, zero = torch.cos(angle), torch.sin(angle), torch.zeros(count)
        matrix = torch.stack(
            [
                torch.stack([cos * mirror, -sin + shear, zero], 1),
                torch.stack([sin * mirror, cos, zero], 1),
            ],
            1,
        )
        grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
        return F.grid_sample(
            x, grid, mode="bilinear", padding_mode="reflection", align_corners=False
        )

    def recoloured(self, x: Tensor) -> Tensor:
        """Brightness, contrast, saturation and tint of values 0..1."""

        def factor(channels: int, spread: float) -> Tensor:
            return 1 + self.uniform(count, channels, 1, 1, low=-spread, high=spread)

        count = len(x)
        x = x * (factor(1, 0.4) * factor(3, 0.15))
        mean = x.mean((1, 2, 3), keepdim=True)
        x = mean + (x - mean) * factor(1, 0.4)
        grey = x.mean(1, keepdim=True)
        saturation = factor(1, 0.5) * (self.uniform(count, 1, 1, 1) > 0.1)
        return (grey + (x - grey) * saturation).clamp(0, 1)

    def erased(self, x: Tensor) -> None:
        """A rectangle of noise over a quarter of the pictures."""
        size = x.shape[-1]
        for index in torch.nonzero(self.uniform(len(x)) < 0.25)[:, 0].tolist():
            area, stretch, v, u = self.uniform(4).tolist()
            area, ratio = (0.02 + 0.23 * area) * size * size, math.exp(2 * stretch - 1)
            h, w = (
                min(size, round(math.sqrt(area * ratio))),
                min(size, round(math.sqrt(area / ratio))),
            )
            top, left = int(v * (size - h + 1)), int(u * (size - w + 1))
            x[index, :, top : top + h, left : left + w] = torch.randn(
                3, h, w, generator=self.generator
            )

    def mixed(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """MixUp, CutMix or neither, of the batch with a permutation of itself."""
        choice = self.uniform(1).item()
        if choice >= self.options.mixup + self.options.cutmix:
            return x, y
        other = torch.randperm(len(x), generator=self.generator)
        if choice < self.options.mixup:
            share = self.uniform(len(x), 1, 1, 1, low=0.5) ** 0.5  # keeps one of the two dominant
            x = share * x + (1 - share) * x[other]
            return x, share.flatten(1) * y + (1 - share.flatten(1)) * y[other]
        size = x.shape[-1]
        area, v, u = self.uniform(3).tolist()
        side = round(size * math.sqrt(area))
        v, u = round(v * size), round(u * size)
        top, bottom = max(0, v - side // 2), min(size, v + side // 2)
        left, right = max(0, u - side // 2), min(size, u + side // 2)
        x = x.clone()
        x[:, :, top:bottom, left:right] = x[other, :, top:bottom, left:right]
        share = 1 - (bottom - top) * (right - left) / (size * size)
        return x, share * y + (1 - share) * y[other]

    def epoch(self, batch: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.pictures), generator=self.generator)
        mean, std = (torch.tensor(value).view(3, 1, 1) / 255 for value in (MEAN, STD))
        for part in order[: len(order) // batch * batch].split(batch):
            x = (
                torch.stack(
                    [self.crop(self.pictures[index], size) for index in part.tolist()]
                ).float()
                / 255
            )
            x = (self.recoloured(self.turned(x)) - mean) / std
            self.erased(x)
            yield self.mixed(x, self.labels[part])


# ---- Training ------------------------------------------------------------------------------------


def size_at(epoch: int, epochs: int, stages: list[tuple[float, int]]) -> int:
    """Picture size of an epoch: small pictures teach most of it at a fraction of the cost."""
    return next(size for end, size in stages if epoch < end * epochs or end == stages[-1][0])


def train(options: argparse.Namespace) -> None:
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    device = torch.device(options.device)
    classes = sorted(
        folder.name for folder in (options.data / "train").iterdir() if folder.is_dir()
    )
    pictures = list_pictures(options.data / "train", classes)
    data = Augmenter(
        [read_picture(file) for file, _ in pictures],
        [label for _, label in pictures],
        len(classes),
        options,
        generator,
    )
    held_out = list_pictures(options.data / "validation", classes)
    raw, truth = (
        [read_picture(file) for file, _ in held_out],
        torch.tensor([label for _, label in held_out]),
    )

    def preprocess(short: int, crop: int) -> dict:
        return {
            "resize_short": short,
            "crop": crop,
            "mean": MEAN,
            "std": STD,
            "orientation": "apply",
        }

    def inputs(short: int, crop: int) -> Tensor:
        return torch.stack([prepared(rgb, preprocess(short, crop)) for rgb in raw]).to(device)

    watched = inputs(*options.evaluate_at[0])
    variant = spatial_mamba.Variant(options.dim, tuple(options.depths))
    model, average = (spatial_mamba.Classifier(variant, len(classes)) for _ in range(2))
    initialise(model, generator)
    if options.initial:
        model.load_state_dict(load(options.initial)[0].state_dict())
    for network in (model, average):
        install(network, options.drop_path)
        network.to(device=device, memory_format=torch.channels_last)
    average.load_state_dict(model.state_dict())
    optimiser = optimiser_for(model, options.rate, options.weight_decay)
    steps_an_epoch = len(pictures) // options.batch
    steps = options.epochs * steps_an_epoch
    first, best, spent = 0, {"accuracy": -1.0, "loss": math.inf}, 0.0
    if options.checkpoint.exists():
        saved = torch.load(options.checkpoint, map_location="cpu", weights_only=True)
        model.load_state_dict(saved["model"])
        average.load_state_dict(saved["average"])
        optimiser.load_state_dict(saved["optimiser"])
        torch.set_rng_state(saved["rng"])
        generator.set_state(saved["generator"])
        first, best, spent = saved["epoch"], saved["best"], saved["seconds"]
        print(f"resuming after epoch {first}", flush=True)
    parameters = sum(value.numel() for value in model.parameters())
    print(
        f"{parameters / 1e6:.2f} M parameters, {len(pictures)} training pictures, "
        f"{len(classes)} classes",
        flush=True,
    )

    start = time.monotonic() - spent
    for epoch in range(first, options.epochs):
        size, losses = size_at(epoch, options.epochs, options.sizes), []
        model.train()
        for index, (x, y) in enumerate(data.epoch(options.batch, size)):
            step = epoch * steps_an_epoch + index
            for group in optimiser.param_groups:
                group["lr"] = rate_at(step, steps, options.warmup * steps_an_epoch, options.rate)
            x = x.to(device=device, memory_format=torch.channels_last)
            with torch.autocast(device.type, torch.bfloat16, enabled=options.bf16):
                logits = model(x)
            loss = F.cross_entropy(logits.float(), y.to(device), label_smoothing=options.smoothing)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            optimiser.step()
            losses.append(loss.detach())
            follow(average, model, step, options.average)
            bar(
                index + 1,
                steps_an_epoch,
                f"epoch {epoch + 1}/{options.epochs} at {size} px, loss {loss.item():.3f}",
            )
        logits = predict(average, watched).cpu()
        accuracy = (logits.argmax(1) == truth).float().mean().item()
        held_out_loss = F.cross_entropy(logits, truth).item()
        if (accuracy, -held_out_loss) > (best["accuracy"], -best["loss"]):
            best = {
                "accuracy": accuracy,
                "loss": held_out_loss,
                "epoch": epoch + 1,
                "state": {key: value.cpu().clone() for key, value in average.state_dict().items()},
            }
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        print(
            f"epoch {epoch + 1}/{options.epochs} {size} px loss {torch.stack(losses).mean():.3f} "
            f"validation {100 * accuracy:.1f} % loss {held_out_loss:.3f} "
            f"best {100 * best['accuracy']:.1f} % ({best['epoch']}) "
            f"{time.monotonic() - start:.0f} s",
            flush=True,
        )
        saved = {
            "model": model.state_dict(),
            "average": average.state_dict(),
            "optimiser": optimiser.state_dict(),
            "rng": torch.get_rng_state(),
            "generator": generator.get_state(),
            "epoch": epoch + 1,
            "best": best,
            "seconds": time.monotonic() - start,
        }
        replace_file(options.checkpoint, lambda aside, saved=saved: torch.save(saved, aside))

    # The values that will be served: rounded to half precision, at each of the offered sizes.
    average.load_state_dict(
        {
            key: value.half().float() if value.is_floating_point() else value
            for key, value in best["state"].items()
        }
    )
    results = []
    for short, crop in options.evaluate_at:
        logits = predict(average, inputs(short, crop)).cpu()
        results.append(
            (
                (logits.argmax(1) == truth).float().mean().item(),
                -F.cross_entropy(logits, truth).item(),
                short,
                crop,
            )
        )
        print(
            f"resize {short} crop {crop}: validation {100 * results[-1][0]:.1f} % "
            f"loss {-results[-1][1]:.3f}"
        )
    accuracy, _, short, crop = max(results)
    export(
        options.out,
        best["state"],
        {
            "task": "classify",
            "head": {},
            "variant": {"dim": options.dim, "depths": options.depths},
            "classes": [{"name": name} for name in classes],
            "preprocess": preprocess(short, crop),
            "description": options.description,
            "licence": options.licence,
            "metrics": {"validation_top1": round(accuracy, 4)},
        },
    )
    print(
        f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB, epoch {best['epoch']}, "
        f"resize {short} crop {crop}, validation {100 * accuracy:.1f} %, "
        f"{(time.monotonic() - start) / 60:.0f} minutes"
    )


def parse() -> argparse.Namespace:
    def pair(text: str) -> tuple[int, int]:
        short, _, crop = text.partition("/")
        return int(short), int(crop)

    def stage(text: str) -> tuple[float, int]:
        end, _, size = text.partition(":")
        return float(end), int(size)

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("clothing.safetensors"))
    parser.add_argument(
        "--checkpoint", type=Path, help="default: the name of --out, ending .checkpoint"
    )
    parser.add_argument(
        "--initial", type=Path, help="weights file of the same shape and classes to start from"
    )
    parser.add_argument("--epochs", type=int, default=120)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument(
        "--sizes",
        type=stage,
        nargs="+",
        default=[(0.5, 64), (0.8, 80), (1.0, 112)],
        metavar="END:SIZE",
        help="picture size up to this share of the epochs",
    )
    parser.add_argument(
        "--evaluate-at",
        type=pair,
        nargs="+",
        default=[(128, 112), (128, 128), (112, 112)],
        metavar="SHORT/CROP",
        help="the first is watched while training, the best ends in the file",
    )
    parser.add_argument("--dim", type=int, default=32)
    parser.add_argument("--depths", type=int, nargs=4, default=[1, 1, 3, 1])
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--warmup", type=int, default=5, help="epochs")
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--smoothing", type=float, default=0.1)
    parser.add_argument("--mixup", type=float, default=0.3, help="share of the batches")
    parser.add_argument("--cutmix", type=float, default=0.4, help="share of the batches")
    parser.add_argument("--min-scale", type=float, default=0.35)
    parser.add_argument("--drop-path", type=float, default=0.1)
    parser.add_argument(
        "--average", type=float, default=0.998, help="decay of the moving average of the weights"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument(
        "--description",
        default="Spatial-Mamba trained from scratch on 3,068 photos of clothes, 10 classes",
    )
    parser.add_argument(
        "--licence",
        default="weights: Apache-2.0; data (alexeygrigorev/clothing-dataset-small): CC0-1.0",
    )
    options = parser.parse_args()
    options.checkpoint = options.checkpoint or options.out.with_suffix(".checkpoint")
    return options


def main() -> None:
    options = parse()
    keep_memory()
    if options.threads:
        torch.set_num_threads(options.threads)
    train(options)


if __name__ == "__main__":
    main()
