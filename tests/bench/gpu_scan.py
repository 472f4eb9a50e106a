"""The selective scan as a careful PyTorch user would have it on a GPU: one Triton kernel, tuned to each shape.

`install` puts it in the place of the reference's loop over pixels. On a CPU, or without Triton, the oracle's chunked tensor
expression takes its place.
"""
from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "oracle"))
import peer  # noqa: E402
import spatial_mamba  # noqa: E402

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

if triton is not None:

    @triton.jit
    def _compose(gate_a, state_a, gate_b, state_b):
        return gate_a * gate_b, state_a * gate_b + state_b

    @triton.jit
    def scan_kernel(x, delta, log_a, b, h, batch, length, channels, TIMES: tl.constexpr, CHANNELS: tl.constexpr):
        """One program scans a few channels of an image, TIMES steps at once; maps are [batch, length, channels]."""
        c = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
        first = tl.program_id(1).to(tl.int64) * length
        decay = -tl.exp(tl.load(log_a + c, mask=c < channels, other=0.0).to(tl.float32))
        carry = tl.zeros([CHANNELS], tl.float32)
        steps = tl.arange(0, TIMES)
        for start in range(0, length, TIMES):
            t = start + steps
            inside = (t < length)[:, None] & (c < channels)[None, :]
            at = (first + t)[:, None] * channels + c[None, :]
            d = tl.load(delta + at, mask=inside, other=0.0).to(tl.float32)
            u = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
            weight = tl.load(b + first + t, mask=t < length, other=0.0).to(tl.float32)
            gate, state = tl.associative_scan((tl.exp(d * decay[None, :]), d * u * weight[:, None]), 0, _compose)
            state += gate * carry[None, :]
            tl.store(h + at, state.to(h.dtype.element_ty), mask=inside)
            carry = tl.sum(tl.where(steps[:, None] == TIMES - 1, state, 0.0), 0)

    # Wide pieces of time where there are few programs, many channels where there are enough.
    tuned_kernel = triton.autotune(
        configs=[triton.Config({"TIMES": times, "CHANNELS": channels}, num_warps=warps)
                 for times, channels, warps in ((64, 16, 4), (128, 8, 4), (256, 4, 4), (512, 2, 4))],
        key=["batch", "length", "channels"], cache_results=True)(scan_kernel)


@torch.library.custom_op("gpu_peer::scan", mutates_args=(), device_types="cuda")
def _scan(x: Tensor, delta: Tensor, log_a: Tensor, b: Tensor) -> Tensor:
    x, delta, b = x.contiguous(), delta.contiguous(), b.contiguous()
    batch, length, channels = x.shape
    h = torch.empty_like(x)
    tuned_kernel[lambda meta: (triton.cdiv(channels, meta["CHANNELS"]), batch)](
        x, delta, log_a.contiguous(), b, h, batch, length, channels)
    return h


@_scan.register_fake
def _(x: Tensor, delta: Tensor, log_a: Tensor, b: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def install(device: str) -> None:
    """Replaces the reference's scan, for this process."""
    if device == "cpu" or triton is None:
        spatial_mamba.selective_scan = peer.chunked_scan
    else:
        spatial_mamba.selective_scan = torch.ops.gpu_peer.scan
