"""Trains a small Spatial-Mamba classifier from scratch on a folder of pictures, on a CPU or a GPU.

The bundled clothing weights came from

    python deploy/training/train_classifier.py --data FOLDER --out deploy/models/clothing.safetensors \\
        --epochs 80 --sizes 0.4:64 0.75:80 1:112 --mixup 0.2 --cutmix 0.3 --bf16 --threads 2

FOLDER (`--data`) holds `train`, `validation` and `test`, each with one folder a class. Only `train`
is learned from; the validation accuracy picks the epoch and the size of the final crop; `test` is
not opened (evaluate_classifier.py does that, on the finished file). After each epoch everything
needed to go on is written to `--checkpoint`; the same command resumes.

The network is the readable reference under tests/oracle, so a weight means the same here as when it
is served. Three of its operators are replaced while training, with equal results (`--self-test`
compares values and gradients):

- the scan: autograd would record a thousand steps and keep as many tensors; here the whole
  recurrence is one operator with a hand-written gradient, in time-major memory, so that a step is
  one fused multiply-add over the batch;
- dilated depthwise convolutions, whose gradients are slow on CPUs, run as dense ones on the d*d
  sub-lattices of the map;
- depthwise convolutions stay in float32 when the rest runs in bfloat16 (`--bf16`), where CPUs
  compute them slowly.

Needs torch, numpy, pillow and safetensors.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import os
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from evaluate_classifier import list_pictures, load, predict, prepared, read_picture, spatial_mamba
from safetensors.torch import save_file
from torch import Tensor, nn

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]  # of 0..255 values, R G B


# ---- Operators, equal to the reference's, faster to train ----------------------------------------


class Scan(torch.autograd.Function):
    """`spatial_mamba.selective_scan` with its gradient written out; the arguments are the same."""

    @staticmethod
    def forward(ctx, x: Tensor, delta: Tensor, log_a: Tensor, b: Tensor) -> Tensor:
        x, delta, b = (value.float().transpose(0, 1).contiguous() for value in (x, delta, b))
        a = torch.exp(log_a.float())
        decay = torch.exp(-delta * a)
        h = (delta * b).mul_(x)
        states, decays = h.unbind(0), decay.unbind(0)
        for t in range(1, len(states)):
            states[t].addcmul_(decays[t], states[t - 1])
        ctx.save_for_backward(x, delta, a, b, decay, h)
        return h.transpose(0, 1)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, ...]:
        x, delta, a, b, decay, h = ctx.saved_tensors
        grad = grad.float().transpose(0, 1).clone(memory_format=torch.contiguous_format)
        grads, decays = grad.unbind(0), decay.unbind(0)
        for t in range(len(grads) - 2, -1, -1):
            grads[t].addcmul_(decays[t + 1], grads[t + 1])
        log_decay = torch.zeros_like(grad)  # gradient of -delta * a; the first step has no past
        torch.mul(grad[1:], h[:-1], out=log_decay[1:])
        log_decay *= decay
        grad_log_a = -(log_decay * delta).sum((0, 1)) * a
        grad_delta = log_decay.mul_(-a)
        grad_x = grad * delta
        grad_b = (grad_x * x).sum(-1, keepdim=True)
        grad_x *= b
        grad *= b
        grad_delta.addcmul_(grad, x)
        return (
            grad_x.transpose(0, 1),
            grad_delta.transpose(0, 1),
            grad_log_a,
            grad_b.transpose(0, 1),
        )


def dilated(h: Tensor, kernel: Tensor, dilation: int) -> Tensor:
    """Depthwise 3x3 convolution of channels-last `h` with replicated edges. Pixels a multiple of
    `dilation` apart form a map of their own, on which the convolution is dense."""
    batch, height, width, channels = h.shape
    d, rows, columns = dilation, -(-height // dilation), -(-width // dilation)
    h = h.permute(0, 3, 1, 2)
    if height < 2 * d:  # a map so small is mostly padding
        return F.conv2d(
            F.pad(h, (d,) * 4, mode="replicate"), kernel, dilation=d, groups=channels
        ).permute(0, 2, 3, 1)
    h = F.pad(
        h, (d, (columns + 1) * d - width, d, (rows + 1) * d - height), mode="replicate"
    ).permute(0, 2, 3, 1)
    h = h.reshape(batch, rows + 2, d, columns + 2, d, channels).permute(0, 2, 4, 1, 3, 5)
    h = h.reshape(batch * d * d, rows + 2, columns + 2, channels).permute(0, 3, 1, 2)
    h = F.conv2d(h, kernel, groups=channels).permute(0, 2, 3, 1)
    h = h.reshape(batch, d, d, rows, columns, channels).permute(0, 3, 1, 4, 2, 5)
    return h.reshape(batch, rows * d, columns * d, channels)[:, :height, :width]


def fusion_forward(self: spatial_mamba.StateFusion, h: Tensor) -> Tensor:
    with torch.autocast(h.device.type, enabled=False):
        kernels = (self.kernel_3, self.kernel_3_1, self.kernel_3_2)
        return sum(
            dilated(h.float(), weight * kernel, d)
            for weight, kernel, d in zip(self.alpha, kernels, (1, 3, 5))
        )


def depthwise_forward(self: nn.Conv2d, x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return F.conv2d(
            x.float(), self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )


def block_forward(self: spatial_mamba.Block, x: Tensor) -> Tensor:
    """The reference's block, but residual branches are left out at random (stochastic depth) while
    training."""

    def branch(y: Tensor) -> Tensor:
        if not self.training or not self.drop_path:
            return y
        kept = torch.rand(len(y), 1, 1, 1, device=y.device) >= self.drop_path
        return y * kept / (1 - self.drop_path)

    x = x + self.cpe1(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    x = x + branch(self.self_attention(self.ln_1(x)))
    x = x + self.cpe2(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    return x + branch(self.mlp(self.ln_2(x)))


def install(model: nn.Module, drop_path: float) -> None:
    """Puts the operators above into `model`, and the scan into the reference's module."""
    spatial_mamba.selective_scan = Scan.apply
    blocks = [module for module in model.modules() if isinstance(module, spatial_mamba.Block)]
    for index, block in enumerate(blocks):
        block.drop_path = drop_path * index / max(1, len(blocks) - 1)
        block.forward = types.MethodType(block_forward, block)
    for module in model.modules():
        if isinstance(module, spatial_mamba.StateFusion):
            module.forward = types.MethodType(fusion_forward, module)
        elif isinstance(module, nn.Conv2d) and module.groups > 1:
            module.forward = types.MethodType(depthwise_forward, module)


def initialise(model: nn.Module, generator: torch.Generator) -> None:
    """The reference leaves its parameters for a checkpoint to fill. Step sizes are spread
    log-uniformly over 0.001..0.1, as selective state-space models do; the taps of the state fusion
    start as averages, not sums."""

    def normal(weight: Tensor, fan_in: int, gain: float = 1.0) -> None:
        nn.init.trunc_normal_(weight, std=gain / math.sqrt(fan_in), a=-1, b=1, generator=generator)

    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear):
                normal(module.weight, module.in_features, 0.7)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.Conv2d):
                normal(
                    module.weight,
                    module.weight[0].numel(),
                    1.0 if module.groups > 1 else math.sqrt(2),
                )
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, spatial_mamba.StateFusion):
                for kernel in (module.kernel_3, module.kernel_3_1, module.kernel_3_2):
                    kernel.fill_(1 / 9)
        for module in model.modules():
            if isinstance(module, spatial_mamba.StructureAwareSSM):
                inner = module.Ds.numel()
                normal(module.x_proj_weight, inner)
                nn.init.uniform_(
                    module.dt_projs_weight,
                    -(module.rank**-0.5),
                    module.rank**-0.5,
                    generator=generator,
                )
                step = torch.exp(
                    torch.rand(inner, generator=generator) * math.log(100) + math.log(0.001)
                )
                module.dt_projs_bias.copy_(step + torch.log(-torch.expm1(-step)))  # softplus^-1
                module.A_logs.zero_()
                module.Ds.fill_(1)
            elif isinstance(module, spatial_mamba.Block):  # branches start small
                for branch in (module.self_attention.out_proj, module.mlp.fc2):
                    branch.weight.mul_(0.5)


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


def rate_at(step: int, steps: int, warmup: int, peak: float) -> float:
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (
        0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
    )


def optimiser_for(model: nn.Module, options: argparse.Namespace) -> torch.optim.Optimizer:
    """AdamW; weight decay only on matrices and kernels."""
    plain = ("A_logs", "Ds", "alpha", "bias")
    named = list(model.named_parameters())
    kept = [value for key, value in named if value.ndim < 2 or key.endswith(plain)]
    decayed = [value for key, value in named if not (value.ndim < 2 or key.endswith(plain))]
    return torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": options.weight_decay},
            {"params": kept, "weight_decay": 0.0},
        ],
        lr=options.rate,
        betas=(0.9, 0.98),
    )


def export(
    state: dict[str, Tensor],
    options: argparse.Namespace,
    classes: list[str],
    preprocess: dict,
    metrics: dict,
) -> None:
    """Half precision, with all the server has to know in the metadata. Written aside and renamed:
    never half a file."""
    tensors = {
        key: value.detach().cpu().half().contiguous()
        for key, value in state.items()
        if value.is_floating_point()
    }
    overflown = [key for key, value in tensors.items() if not value.isfinite().all()]
    if overflown:
        raise SystemExit(f"beyond half precision: {overflown}")
    metadata = {
        "format": "spatial-mamba",
        "task": "classify",
        "precision": "fp16",
        "head": "{}",
        "variant": json.dumps({"dim": options.dim, "depths": options.depths}),
        "classes": json.dumps([{"name": name} for name in classes]),
        "preprocess": json.dumps(preprocess),
        "description": options.description,
        "licence": options.licence,
        "metrics": json.dumps(metrics),
    }
    aside = options.out.with_suffix(".partial")
    save_file(tensors, str(aside), metadata)
    aside.chmod(0o644)  # the library leaves it to its owner alone
    os.replace(aside, options.out)


def keep_memory() -> None:
    """Tells glibc to keep freed memory: an activation map given back to the system costs a page
    fault for every 4 KiB when the next step asks for it again, a third of the time of a step."""
    if sys.platform == "linux":
        try:
            library = ctypes.CDLL(None)
            library.mallopt(-4, 0)  # M_MMAP_MAX: no block comes from mmap
            library.mallopt(-1, -1)  # M_TRIM_THRESHOLD: never shrink the heap
        except (AttributeError, OSError):
            pass  # another C library: slower, not wrong


def bar(done: int, total: int, text: str) -> None:
    if sys.stderr.isatty():
        filled = 30 * done // total
        print(
            f"\r[{'#' * filled}{'.' * (30 - filled)}] {text}", end="", file=sys.stderr, flush=True
        )


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
    optimiser = optimiser_for(model, options)
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
            keep = min(options.average, (1 + step) / (10 + step))
            with torch.no_grad():
                for old, new in zip(average.state_dict().values(), model.state_dict().values()):
                    if old.is_floating_point():
                        old.lerp_(new, 1 - keep)
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
        aside = options.checkpoint.with_suffix(".partial")
        torch.save(
            {
                "model": model.state_dict(),
                "average": average.state_dict(),
                "optimiser": optimiser.state_dict(),
                "rng": torch.get_rng_state(),
                "generator": generator.get_state(),
                "epoch": epoch + 1,
                "best": best,
                "seconds": time.monotonic() - start,
            },
            aside,
        )
        os.replace(aside, options.checkpoint)

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
        best["state"],
        options,
        classes,
        preprocess(short, crop),
        {"validation_top1": round(accuracy, 4)},
    )
    print(
        f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB, epoch {best['epoch']}, "
        f"resize {short} crop {crop}, validation {100 * accuracy:.1f} %, "
        f"{(time.monotonic() - start) / 60:.0f} minutes"
    )


def self_test() -> None:
    """The operators above against the reference's: values and gradients."""
    reference = spatial_mamba.selective_scan
    generator = torch.Generator().manual_seed(1)

    def compare(name: str, ours, theirs, arguments: list[Tensor]) -> None:
        left, right = ours(*arguments), theirs(*arguments)
        weight = torch.randn(left.shape, generator=generator, dtype=left.dtype)
        worst = (left - right).abs().max().item()
        for p, q in zip(
            torch.autograd.grad((left * weight).sum(), arguments),
            torch.autograd.grad((right * weight).sum(), arguments),
        ):
            worst = max(worst, ((p - q).abs().max() / (1 + q.abs().max())).item())
        print(f"{name}: {worst:.1e}")
        if worst > 1e-4:
            raise SystemExit(f"{name} differs from the reference")

    def leaf(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator).requires_grad_()

    compare(
        "scan", Scan.apply, reference, [leaf(2, 37, 5), leaf(2, 37, 5), leaf(5), leaf(2, 37, 1)]
    )
    fusion = spatial_mamba.StateFusion(6)
    for side in (4, 7, 14, 28):
        h = leaf(2, side, side + 3, 6)
        compare(
            f"fusion {side}",
            lambda h, *_: fusion_forward(fusion, h),
            lambda h, *_: fusion(h),
            [h, *fusion.parameters()],
        )
    model = spatial_mamba.Classifier(spatial_mamba.VARIANTS["micro"], 5)
    initialise(model, generator)
    x = torch.randn(2, 3, 96, 64, generator=generator).requires_grad_()
    model.train()
    plain = model(x)
    gradients = torch.autograd.grad(plain.square().sum(), [x, *model.parameters()])
    install(model, 0.0)
    ours = model(x)
    worst = (ours - plain).abs().max().item()
    for p, q in zip(torch.autograd.grad(ours.square().sum(), [x, *model.parameters()]), gradients):
        worst = max(worst, ((p - q).abs().max() / (1 + q.abs().max())).item())
    print(f"network: {worst:.1e}")
    if worst > 1e-3:
        raise SystemExit("the network differs from the reference")


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
    parser.add_argument("--data", type=Path)
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
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    if not options.self_test and options.data is None:
        parser.error("--data is needed")
    options.checkpoint = options.checkpoint or options.out.with_suffix(".checkpoint")
    return options


def main() -> None:
    options = parse()
    keep_memory()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.self_test:
        self_test()
    else:
        train(options)


if __name__ == "__main__":
    main()
