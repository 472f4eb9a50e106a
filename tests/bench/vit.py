"""A plain vision transformer (arXiv 2010.11929, patches of 16) in PyTorch: forward seconds and peak memory, one line of JSON.

    python tests/bench/vit.py --size 2048 --dim 192 --depth 6 --heads 3 --threads 2

Attention is torch's scaled_dot_product_attention, whose memory is linear in the tokens on a CPU too; its time is not.
"""

from __future__ import annotations

import argparse
import json
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, dim = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, dim))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """Gives a vector for each patch. Positions are left out: they change neither time nor memory."""

    def __init__(self, dim: int, depth: int, heads: int, patch: int = 16):
        super().__init__()
        self.embed = nn.Conv2d(3, dim, patch, patch)
        self.blocks = nn.Sequential(*(Block(dim, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.blocks(self.embed(images).flatten(2).transpose(1, 2)))


def memory(field: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at most."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field + ":"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, required=True, help="side of the square picture in pixels")
    parser.add_argument("--dim", type=int, default=192)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--heads", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    network = VisionTransformer(options.dim, options.depth, options.heads).eval()
    with torch.inference_mode():
        network(torch.randn(1, 3, 224, 224))
        images = torch.randn(1, 3, options.size, options.size)
        start = time.monotonic()
        network(images)
        seconds = time.monotonic() - start
    parameters = sum(value.numel() for value in network.parameters())
    print(json.dumps({"seconds": seconds, "peak_bytes": memory("VmHWM"), "parameters": parameters}))


if __name__ == "__main__":
    main()
