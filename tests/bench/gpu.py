"""The model on a GPU beside its peers, in one run on one machine.

    python3 tests/bench/gpu.py --program build/gpu/bin/gpu_bench --out build/gpu-results

First gpu_bench alone: every variant, size and batch size asked for. Then each mode of gpu_peer.py in a process of its own
(PyTorch eager and compiled, ConvNeXt-T and Swin-T compiled, cuBLAS): all of them compile and warm up beside each other, those
that are not ready after --warm-up seconds are left out, and the rest is measured one after the other while the others wait, our
model in between, --rounds times. Prints rows for RESULTS.md and writes all figures to OUT/gpu.json.
"""
from __future__ import annotations

import argparse
import json
import os
import selectors
import statistics
import subprocess
import sys
import time
from array import array
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODES = ["eager-fp32", "eager-bf16", "compile-bf16", "compile-fp32", "convnext", "swin"]


class Worker:
    """A process of gpu_peer.py."""

    def __init__(self, mode: str, options: argparse.Namespace, *arguments: str):
        self.mode, self.is_ready = mode, False
        command = [sys.executable, str(HERE / "gpu_peer.py"), mode, "--variant", options.variant, "--size", options.size,
                   "--device", options.device, "--batches", *map(str, options.batches), *arguments]
        environment = os.environ | {"TORCHINDUCTOR_COMPILE_THREADS": "4"}
        self.log = (options.out / f"peer-{mode}.log").open("w+")
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
                                        env=environment)

    def read_ready(self) -> None:
        self.is_ready = self.process.stdout.readline().strip() == "ready"
        self.warm_up = time.monotonic() - self.started

    def ask(self, line: str) -> object:
        """Nothing if the worker has failed."""
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())
        except (OSError, ValueError):
            print(f"{self.mode}: failed at '{line}': {self.last_words()}")
            return None

    def end(self) -> None:
        self.process.kill()
        self.process.wait()

    def last_words(self) -> str:
        self.log.flush()
        self.log.seek(0)
        return "".join(self.log.readlines()[-3:]).strip()


def start(workers: list[Worker], seconds: float) -> list[Worker]:
    """Waits until each is warm, has failed, or the time is up; the warm ones."""
    selector = selectors.DefaultSelector()
    for worker in workers:
        selector.register(worker.process.stdout, selectors.EVENT_READ, worker)
    deadline = time.monotonic() + seconds
    waiting = set(workers)
    while waiting and time.monotonic() < deadline:
        for key, _ in selector.select(max(0.0, deadline - time.monotonic())):
            key.data.read_ready()
            selector.unregister(key.fileobj)
            waiting.discard(key.data)
    for worker in workers:
        if worker.is_ready:
            print(f"{worker.mode}: warm after {worker.warm_up:.0f} s")
        else:
            print(f"{worker.mode}: left out, {'not warm in time' if worker in waiting else 'failed'}: {worker.last_words()}")
            worker.end()
    return [worker for worker in workers if worker.is_ready]


def run_bench(options: argparse.Namespace, name: str, *arguments: str, quiet: bool = False) -> dict:
    file = options.out / f"{name}.json"
    command = [options.program, *arguments, "--json", file]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL if quiet else None, timeout=options.limit)
    return json.loads(file.read_text())


def dump(options: argparse.Namespace, precision: str, count: int) -> list[float]:
    file = options.out / f"logits-{precision}.bin"
    subprocess.run([options.program, "--dump", file, "--variants", options.variant, "--sizes", options.size, "--batches",
                    str(count), "--precisions", precision], check=True, timeout=options.limit)
    values = array("f")
    values.frombytes(file.read_bytes())
    return list(values)


def agreement(options: argparse.Namespace, workers: list[Worker]) -> None:
    """How far logits are from those of PyTorch in fp32."""
    by_mode = {worker.mode: worker for worker in workers}
    if "eager-fp32" not in by_mode:
        print("no fp32 peer to compare logits with")
        return
    count = 4
    expected = by_mode["eager-fp32"].ask(f"logits {count}")
    if expected is None:
        return
    others = {f"ours {precision}": dump(options, precision, count) for precision in ("fp32", "bf16")}
    others |= {mode: worker.ask(f"logits {count}") for mode, worker in by_mode.items() if mode.endswith("-bf16")}
    largest = max(map(abs, expected))
    for name, logits in others.items():
        if logits is None:
            continue
        error = max(abs(a - b) for a, b in zip(logits, expected, strict=True)) / largest
        classes = len(expected) // count
        same = sum(argmax(logits, i, classes) == argmax(expected, i, classes) for i in range(count))
        print(f"logits of {name}: within {error:.1e} of the largest, {same} of {count} first classes as the peer's fp32")


def argmax(values: list[float], row: int, width: int) -> int:
    return max(range(width), key=lambda i: values[row * width + i])


def compare(options: argparse.Namespace, figures: dict) -> None:
    workers = start([Worker("tune", options)], 60) if options.device != "cpu" else []
    for worker in workers:
        worker.end()
    workers = start([Worker(mode, options, *(["--whole"] if options.whole else [])) for mode in options.modes], options.warm_up)
    agreement(options, workers)
    times: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for _ in range(options.rounds):
        ours = run_bench(options, "round", "--variants", options.variant, "--sizes", options.size, "--precisions", "bf16,fp32",
                         "--batches", ",".join(map(str, options.batches)), "--seconds", str(options.seconds), quiet=True)
        for model in ours["models"]:
            times[f"ours {model['precision']}"][str(model["batch"])].append(model["milliseconds"])
        for worker in workers:
            for batch, milliseconds in (worker.ask(f"measure {options.seconds}") or {}).items():
                times[worker.mode][batch].append(milliseconds)
    for worker in workers:
        worker.end()
    figures["compared"] = {mode: {batch: statistics.median(values) for batch, values in by_batch.items()}
                           for mode, by_batch in times.items()}
    print_comparison(options, figures["compared"])


def print_comparison(options: argparse.Namespace, medians: dict[str, dict[str, float]]) -> None:
    """Times, and how many times as fast as each peer our model in bf16 is."""
    heads = " | ".join(f"batch {batch}: ms | img/s | ours bf16 is" for batch in options.batches)
    print(f"\n{options.variant} {options.size}\n\n| | {heads} |\n|---" + "|---|---|---" * len(options.batches) + "|")
    for mode, by_batch in medians.items():
        cells = []
        for batch in map(str, options.batches):
            ratio = by_batch[batch] / medians["ours bf16"][batch]
            cells.append(f"{by_batch[batch]:.3f} | {int(batch) / by_batch[batch] * 1000:,.0f} | {ratio:.2f}x")
        print(f"| {mode} | " + " | ".join(cells) + " |")


def compare_gemms(options: argparse.Namespace, figures: dict) -> None:
    ours = run_bench(options, "gemms", "--gemms", "--variants", options.variant, "--batches", str(options.batches[-1]),
                     "--precisions", "bf16", "--seconds", "0.05", quiet=True)
    workers = start([Worker("gemms", options, "--gemms", str(options.out / "gemms.json"))], 60)
    cublas = (workers[0].ask("measure 0.05") if workers else None) or [{}] * len(ours["gemms"])
    for worker in workers:
        worker.end()
    print(f"\nmatrix products, bf16, batch {options.batches[-1]}: microseconds, with all that follows the product\n\n"
          "| layer | rows x inputs x outputs | ours | GB/s | TFLOP/s | cuBLAS alone | cuBLAS and what follows |\n"
          "|---|---|---|---|---|---|---|")
    for gemm, theirs in zip(ours["gemms"], cublas, strict=True):
        gemm["cublas"] = theirs
        us = gemm["microseconds"]
        flops = 2 * gemm["rows"] * gemm["inputs"] * gemm["outputs"]
        print(f"| {gemm['launches']} {gemm['layer']} | {gemm['rows']} x {gemm['inputs']} x {gemm['outputs']} | {us:.1f} | "
              f"{gemm['bytes'] / us * 1e-3:.0f} | {flops / us * 1e-6:.0f} | {theirs.get('alone', 0):.1f} | "
              f"{theirs.get('completed', 0):.1f} |")
    figures["gemms"] = ours["gemms"]


def tables(options: argparse.Namespace) -> list[dict]:
    """Our model alone: classification, and the heads at their usual sizes."""
    common = ["--precisions", options.precisions, "--seconds", str(options.seconds)]
    done = []
    for size in options.sizes.split(","):
        batches = [batch for batch in options.table_batches.split(",") if size == "224" or int(batch) <= 16]
        done.append(run_bench(options, f"table-{size}", "--variants", options.variants, "--sizes", size, "--batches",
                              ",".join(batches), *common))
    for task, size in (("detect", "800x1280"), ("segment", "512"), ("segment", "512x2048")):
        if task in options.heads:
            done.append(run_bench(options, f"table-{task}-{size}", "--tasks", task, "--variants", options.variants, "--sizes",
                                  size, "--batches", "1,2,4,8", *common))
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, required=True, help="the program gpu_bench")
    parser.add_argument("--out", type=Path, default=Path("build/gpu-results"))
    parser.add_argument("--variants", default="tiny,small,base", help="of the table of our model alone")
    parser.add_argument("--sizes", default="224,512,800x1280")
    parser.add_argument("--table-batches", default="1,2,4,8,16,32,64,128,256", help="at 224; larger pictures up to 16")
    parser.add_argument("--precisions", default="bf16,fp32")
    parser.add_argument("--heads", nargs="*", default=["detect", "segment"], help="whose tables are wanted too")
    parser.add_argument("--variant", default="tiny", help="that is compared with the peers")
    parser.add_argument("--size", default="224", help="N or HEIGHTxWIDTH")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--modes", nargs="*", default=MODES, help="of the peer; none: no peers")
    parser.add_argument("--seconds", type=float, default=0.15, help="for each measurement")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--warm-up", type=float, default=120, help="seconds that the peers have to compile")
    parser.add_argument("--whole", action="store_true", help="compile the peer's network at once, not block by block")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--limit", type=float, default=150, help="seconds for each run of gpu_bench")
    parser.add_argument("--no-table", action="store_true", help="only the comparison")
    parser.add_argument("--no-gemms", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    figures: dict = {}
    try:
        if not options.no_table:
            figures["tables"] = tables(options)
        if options.modes:
            compare(options, figures)
        if not options.no_gemms:
            compare_gemms(options, figures)
    finally:
        (options.out / "gpu.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
