"""What the trainings share: the schedule, the optimiser, the averaged weights, resuming, the file."""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]  # of 0..255 values, R G B


def rate_at(step: int, steps: int, warmup: int, peak: float) -> float:
    """Linear warm-up, then half a cosine down to a hundredth."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup))))


def optimiser_for(model: nn.Module, rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW; weight decay only on matrices and kernels."""
    plain = ("A_logs", "Ds", "alpha", "bias")
    named = list(model.named_parameters())
    kept = [value for key, value in named if value.ndim < 2 or key.endswith(plain)]
    decayed = [value for key, value in named if not (value.ndim < 2 or key.endswith(plain))]
    return torch.optim.AdamW(
        [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}],
        lr=rate,
        betas=(0.9, 0.98),
    )


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
        print(f"\r[{'#' * filled}{'.' * (30 - filled)}] {text}", end="", file=sys.stderr, flush=True)


def follow(average: nn.Module, model: nn.Module, step: int, decay: float) -> None:
    """Moves the averaged weights (and statistics of normalisation) towards the model's."""
    keep = min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for old, new in zip(average.state_dict().values(), model.state_dict().values()):
            if old.is_floating_point():
                old.lerp_(new, 1 - keep)


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Written aside and renamed: never half a file."""
    aside = path.with_suffix(".partial")
    write(aside)
    aside.chmod(0o644)  # safetensors leaves it to its owner alone
    os.replace(aside, path)


def half(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What the weights file holds of a state dict: the parameters and statistics in half precision."""
    tensors = {
        key: value.detach().cpu().half().contiguous() for key, value in state.items() if value.is_floating_point()
    }
    overflown = [key for key, value in tensors.items() if not value.isfinite().all()]
    if overflown:
        raise SystemExit(f"beyond half precision: {overflown}")
    return tensors


def export(path: Path, state: dict[str, Tensor], description: dict[str, object]) -> None:
    """Half precision, with all the server has to know in the metadata: strings, or JSON of the rest."""
    metadata = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in {"format": "spatial-mamba", "precision": "fp16", **description}.items()
    }
    replace_file(path, lambda aside: save_file(half(state), str(aside), metadata))


def read_weights(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The file's values as float32, and its metadata."""
    with safe_open(str(file), "pt") as stored:
        return {key: stored.get_tensor(key).float() for key in stored.keys()}, stored.metadata()


def fill(network: nn.Module, state: dict[str, Tensor], file: Path) -> nn.Module:
    """`network` with exactly the values of `state`, ready to predict."""
    missing, unexpected = network.load_state_dict(state, strict=False)
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise SystemExit(f"{file}: missing {missing}, unexpected {unexpected}")
    return network.eval()


def start_backbone(network: nn.Module, file: Path) -> None:
    """Takes a classifier's features, all but its head, as the first weights of `network.backbone`."""
    features = {key: value for key, value in read_weights(file)[0].items() if key.startswith(("patch_embed.", "layers."))}
    wanted = {key for key in network.backbone.state_dict() if key.startswith(("patch_embed.", "layers."))}
    wanted = {key for key in wanted if not key.endswith("num_batches_tracked")}
    if wanted != set(features):
        raise SystemExit(f"{file} is of another variant: it lacks {sorted(wanted - set(features))[:3]}")
    network.backbone.load_state_dict(features, strict=False)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of every training; the parser's own defaults may be set after."""
    parser.add_argument("--out", type=Path, required=True, help="weights file to write")
    parser.add_argument("--checkpoint", type=Path, help="default: the name of --out, ending .checkpoint")
    parser.add_argument("--initial", type=Path, help="classifier whose features to start from")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--dim", type=int, default=32)
    parser.add_argument("--depths", type=int, nargs=4, default=[1, 1, 3, 1])
    parser.add_argument("--rate", type=float, default=6e-4)
    parser.add_argument("--warmup", type=int, default=1, help="epochs")
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--drop-path", type=float, default=0.1)
    parser.add_argument("--average", type=float, default=0.998, help="decay of the moving average of the weights")
    parser.add_argument("--evaluate-every", type=int, default=5, help="epochs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--bf16", action="store_true")


class Training:
    """Runs the epochs, keeps the averaged weights, and writes after each epoch what resuming needs."""

    def __init__(self, model: nn.Module, average: nn.Module, generator: torch.Generator, options: argparse.Namespace):
        self.model, self.average, self.generator, self.options = model, average, generator, options
        self.checkpoint = options.checkpoint or options.out.with_suffix(".checkpoint")
        for network in (model, average):
            network.to(device=options.device, memory_format=torch.channels_last)
        average.load_state_dict(model.state_dict())
        self.optimiser = optimiser_for(model, options.rate, options.weight_decay)
        self.epoch, self.step, self.seconds = 0, 0, 0.0
        if self.checkpoint.exists():
            self._resume()
        print(f"{sum(value.numel() for value in model.parameters()) / 1e6:.2f} M parameters", flush=True)

    def _resume(self) -> None:
        saved = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        self.model.load_state_dict(saved["model"])
        self.average.load_state_dict(saved["average"])
        self.optimiser.load_state_dict(saved["optimiser"])
        torch.set_rng_state(saved["rng"])
        self.generator.set_state(saved["generator"])
        self.epoch, self.step, self.seconds = saved["epoch"], saved["step"], saved["seconds"]
        print(f"resuming after epoch {self.epoch}", flush=True)

    def _save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "rng": torch.get_rng_state(),
            "generator": self.generator.get_state(),
            "epoch": self.epoch,
            "step": self.step,
            "seconds": self.seconds,
        }
        replace_file(self.checkpoint, lambda aside: torch.save(state, aside))

    def run(
        self,
        steps_an_epoch: int,
        batches: Callable[[], Iterable[object]],
        losses_of: Callable[[object], dict[str, Tensor]],
        evaluate: Callable[[nn.Module], str],
    ) -> None:
        """`losses_of` gives the named losses of a batch, whose sum is learned from."""
        options, steps = self.options, self.options.epochs * steps_an_epoch
        start = time.monotonic() - self.seconds
        while self.epoch < options.epochs:
            self.model.train()
            sums: dict[str, float] = {}
            for index, batch in enumerate(batches()):
                for group in self.optimiser.param_groups:
                    group["lr"] = rate_at(self.step, steps, options.warmup * steps_an_epoch, options.rate)
                losses = losses_of(batch)
                self.optimiser.zero_grad(set_to_none=True)
                sum(losses.values()).backward()
                nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
                self.optimiser.step()
                self.step += 1
                follow(self.average, self.model, self.step, options.average)
                for name, value in losses.items():
                    sums[name] = sums.get(name, 0.0) + value.item()
                text = " ".join(f"{name} {value / (index + 1):.3f}" for name, value in sums.items())
                bar(index + 1, steps_an_epoch, f"epoch {self.epoch + 1}/{options.epochs} {text}")
            self.epoch += 1
            self.seconds = time.monotonic() - start
            self._save()
            score = ""
            if self.epoch % options.evaluate_every == 0 or self.epoch == options.epochs:
                score = evaluate(self.average.eval())
            if sys.stderr.isatty():
                print("\r\033[K", end="", file=sys.stderr, flush=True)
            print(f"epoch {self.epoch}/{options.epochs} {text} {self.seconds:.0f} s {score}", flush=True)
