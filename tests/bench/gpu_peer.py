"""One opponent of the GPU benchmark, in a process of its own: gpu.py starts one for each mode and drives them by lines of text.

    python3 tests/bench/gpu_peer.py MODE --variant tiny --size 224 --batches 1 64 [--gemms FILE]

MODE: eager-fp32, eager-bf16 (autocast), compile-fp32, compile-bf16, convnext, swin (both compiled, bf16, channels last),
gemms (the products of FILE, which `gpu_bench --gemms --json FILE` wrote, by cuBLAS), tune (finds the scan's shapes for the
others). fp32 means no TF32. Compiled modes compile block by block (`--whole`: the network at once) and are replayed from a CUDA
graph; eager ones are launched as a program would. Prints "ready" once everything is warm, then answers "measure SECONDS" with a
line of JSON: milliseconds for each batch size; eager-fp32 answers "logits COUNT" with those of the pictures 1, 2, ...
"""
from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "oracle"))
import gpu_scan  # noqa: E402
import peer  # noqa: E402
import spatial_mamba  # noqa: E402
import synthetic  # noqa: E402

MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
SETS = 3  # of inputs, so that none is in the cache because the run before left it there
TIMM = {"convnext": "convnext_tiny", "swin": "swin_tiny_patch4_window7_224"}


def pictures(count: int, height: int, width: int) -> Tensor:
    """gpu_bench's first set: the pictures 1, 2, ..., 8, 1, ... normalised, [count, 3, height, width]."""
    images = [torch.from_numpy(synthetic.image(1 + i, height, width)) for i in range(min(count, 8))]
    stacked = torch.stack([images[i % 8] for i in range(count)]).float()
    return ((stacked - torch.tensor(MEAN)) / torch.tensor(DEVIATION)).permute(0, 3, 1, 2).contiguous()


class Timer:
    """Milliseconds of a piece of work on a device, by its events; by the clock on a CPU."""

    def __init__(self, device: str):
        self._cuda = device != "cpu"
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if self._cuda else []

    def __call__(self, run: Callable[[], None]) -> float:
        start = time.perf_counter()
        if self._cuda:
            self._events[0].record()
        run()
        if self._cuda:
            self._events[1].record()
            self._events[1].synchronize()
            return self._events[0].elapsed_time(self._events[1])
        return (time.perf_counter() - start) * 1000


def measure(run: Callable[[int], None], device: str, seconds: float) -> float:
    """The median milliseconds of run(i) among groups of at least 5 ms."""
    timer = Timer(device)

    def group(count: int) -> float:
        return timer(lambda: [run(i) for i in range(count)]) / count

    group(3)
    count = max(3, min(500, round(5 / group(3))))
    times, spent = [], 0.0
    while len(times) < 5 or spent < seconds * 1000:
        times.append(group(count))
        spent += times[-1] * count
    return statistics.median(times)


class Peer:
    """A network in one mode, with inputs of each batch size on the device."""

    def __init__(self, mode: str, options: argparse.Namespace):
        self.device, self.mode = options.device, mode
        compiled = mode in TIMM or mode.startswith("compile")
        self.dtype = torch.float32 if mode.endswith("fp32") else torch.bfloat16
        if mode in TIMM:
            import timm

            torch.manual_seed(0)
            self.model = timm.create_model(TIMM[mode]).eval().to(self.device, torch.bfloat16, memory_format=torch.channels_last)
        else:
            gpu_scan.install(self.device)
            self.model = peer.classifier(options.variant, device=self.device)
        if compiled:
            self.compile(whole=options.whole or mode in TIMM)
        self.inputs = {batch: self.make_inputs(batch, options) for batch in options.batches}
        self.graphs: dict[int, list[torch.cuda.CUDAGraph]] = {}
        for batch, inputs in self.inputs.items():
            for x in inputs:
                self.forward(x)
            if compiled and self.device != "cpu":
                self.graphs[batch] = [self.graph(x) for x in inputs]

    def compile(self, whole: bool) -> None:
        if whole:
            self.model = torch.compile(self.model, dynamic=False)
            return
        # Once for all blocks of a shape: a compiled method of the class, unlike one of each object, is shared.
        torch._dynamo.config.recompile_limit = 64
        for part in (spatial_mamba.Block, spatial_mamba.Stem, spatial_mamba.DownSampling):
            part.forward = torch.compile(part.forward, dynamic=False)

    def make_inputs(self, batch: int, options: argparse.Namespace) -> list[Tensor]:
        height, _, width = options.size.partition("x")
        x = pictures(batch, int(height), int(width or height)).to(self.device)
        sets = [x.roll(i, 0) for i in range(SETS)]
        if self.mode in TIMM:
            sets = [x.to(torch.bfloat16).contiguous(memory_format=torch.channels_last) for x in sets]
        return sets

    def forward(self, x: Tensor) -> Tensor:
        autocast = self.dtype != torch.float32 and self.mode not in TIMM
        with torch.inference_mode(), torch.autocast(self.device, torch.bfloat16, enabled=autocast):
            return self.model(x)

    def graph(self, x: Tensor) -> torch.cuda.CUDAGraph:
        # On a stream of their own the allocations of the warm-up are the graph's.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self.forward(x)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.forward(x)
        return graph

    def measure(self, seconds: float) -> dict[str, float]:
        times = {}
        for batch, inputs in self.inputs.items():
            graphs = self.graphs.get(batch)

            def run(i: int, inputs: list[Tensor] = inputs, graphs: list[torch.cuda.CUDAGraph] | None = graphs) -> None:
                if graphs:
                    graphs[i % SETS].replay()
                else:
                    self.forward(inputs[i % SETS])

            times[str(batch)] = measure(run, self.device, seconds)
        return times

    def logits(self, count: int, options: argparse.Namespace) -> list[float]:
        height, _, width = options.size.partition("x")
        return self.forward(pictures(count, int(height), int(width or height)).to(self.device)).float().flatten().tolist()


class Gemms:
    """The products that gpu_bench measured, by cuBLAS with its own choice of algorithm: the product with its bias alone, and
    with what follows (GELU, ReLU, residual) as PyTorch runs it."""

    def __init__(self, options: argparse.Namespace):
        self.device = options.device
        self.cases = json.loads(options.gemms.read_text())["gemms"]

    def measure(self, seconds: float) -> list[dict[str, float]]:
        return [self.measure_one(case, seconds) for case in self.cases]

    def measure_one(self, case: dict, seconds: float) -> dict[str, float]:
        dtype = torch.float32 if case["precision"] == "fp32" else torch.bfloat16

        def random(*shape: int) -> Tensor:
            return torch.rand(shape, device=self.device, dtype=dtype) * 0.2 - 0.1

        sets = [(random(case["rows"], case["inputs"]), random(case["outputs"], case["inputs"]), random(case["outputs"]),
                 random(case["rows"], case["outputs"])) for _ in range(SETS)]
        activation = [lambda x: x, F.relu, F.silu, F.gelu][case["activation"]]

        def alone(i: int) -> Tensor:
            x, weights, bias, _ = sets[i % SETS]
            return F.linear(x, weights, bias if case["bias"] else None)

        def completed(i: int) -> Tensor:
            out = activation(alone(i))
            return out.add_(sets[i % SETS][3]) if case["residual"] else out

        return {name: 1000 * self.replayed(run, seconds) for name, run in (("alone", alone), ("completed", completed))}

    @torch.inference_mode()
    def replayed(self, run: Callable[[int], Tensor], seconds: float) -> float:
        launches = 12
        for i in range(SETS):
            run(i)
        if self.device == "cpu":
            return measure(run, self.device, seconds)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for i in range(launches):
                run(i)
        return measure(lambda i: graph.replay(), self.device, seconds) / launches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode")
    parser.add_argument("--variant", default="tiny")
    parser.add_argument("--size", default="224", help="N or HEIGHTxWIDTH")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--whole", action="store_true", help="compile the network at once")
    parser.add_argument("--gemms", type=Path)
    options = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    # Only the answers go to the standard output.
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        worker = Gemms(options) if options.mode == "gemms" else Peer(options.mode.replace("tune", "eager-bf16"), options)
        if options.device != "cpu":
            torch.cuda.synchronize()
        print("ready", file=answers, flush=True)
        for line in sys.stdin:
            command, argument = line.split()
            if command == "measure":
                print(json.dumps(worker.measure(float(argument))), file=answers, flush=True)
            elif command == "logits":
                print(json.dumps(worker.logits(int(argument), options)), file=answers, flush=True)
            else:
                raise ValueError(f"unknown command {command}")


if __name__ == "__main__":
    main()
