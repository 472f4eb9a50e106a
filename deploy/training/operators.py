"""Operators of the reference network that train faster, with equal results, and its first weights.

- The scan: autograd would record a thousand steps and keep as many tensors; here the whole recurrence
  is one operator with a hand-written gradient, in time-major memory, so that a step is one fused
  multiply-add over the batch.
- Dilated depthwise convolutions, whose gradients are slow on CPUs, run as dense ones on the d*d
  sub-lattices of the map.
- Depthwise convolutions stay in float32 when the rest runs in bfloat16, where CPUs compute them
  slowly.

`python deploy/training/operators.py` compares values and gradients with the reference's.
"""

from __future__ import annotations

import math
import types

import torch
import torch.nn.functional as F
from reference import spatial_mamba
from torch import Tensor, nn


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


if __name__ == "__main__":
    self_test()
