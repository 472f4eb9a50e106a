"""The bare model against its peer: the same network, weights, pixels and cores, measured in turn in one run.

    python tests/bench/model.py --bench build/release/bin/model_bench --floors build/release/bin/floors

The peer is tests/oracle/peer.py: PyTorch with a compiled scan. Each repeat times every mode of the peer and then the
server's model, so that a slow moment of the machine falls on all of them. Prints images per second and ratios of medians,
and how far the two disagree. Needs the packages of tests/bench/requirements.txt.
"""
from __future__ import annotations

import argparse
import functools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "oracle"))
import peer  # noqa: E402
import synthetic  # noqa: E402


class Model:
    """The server's model in a process of its own, driven by lines of text."""

    def __init__(self, program: Path, weights: Path, task: str, variant: str, classes: int, precision: str, threads: int):
        command = [program, weights, task, variant, str(classes), precision, str(threads)]
        self._process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.instruction_set = self._answer().removeprefix("ready ").strip()

    def _answer(self) -> str:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"model_bench ended with status {self._process.wait()}")
        return line

    def _ask(self, line: str) -> str:
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._answer()

    def load(self, file: Path, batch: int, height: int, width: int) -> None:
        self._ask(f"input {file} {batch} {height} {width}")

    def run(self) -> float:
        return float(self._ask("run"))

    def answer(self) -> np.ndarray:
        return np.array(self._ask("answer").split(), dtype=np.float32)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=60)


WARM_UPS = 2
CLASSES = {"classification": 1000, "detection": 80, "segmentation": 150}


def disagreement(task: str, ours: np.ndarray, peers: object) -> str:
    """How far the answers are apart, in words."""
    if task == "classification":
        expected = peers.numpy().ravel()
        return f"logits within {np.abs(ours - expected).max() / np.abs(expected).max():.1e} of the peer's"
    if task == "segmentation":
        expected = peers.numpy().ravel()
        return f"{int((ours != expected).sum())} of {expected.size} labels differ from the peer's"
    labels = np.concatenate([found.labels.numpy() for found in peers])
    boxes = np.concatenate([found.boxes.numpy() for found in peers])
    objects = ours.reshape(-1, 6)
    if not np.array_equal(objects[:, 0], labels):
        return f"{len(objects)} objects, the peer has {len(labels)} or others"
    return f"the same {len(labels)} objects, boxes within {np.abs(objects[:, 2:] - boxes).max(initial=0):.1e} pixels"


def timed(run: Callable[..., object], *arguments: object) -> float:
    start = time.perf_counter()
    run(*arguments)
    return time.perf_counter() - start


def report(times: dict[str, list[float]], batch: int) -> None:
    """Images per second, and for each precision of the server how many times that of each mode of the peer."""
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    servers = [name for name in times if name.startswith("server")]
    for name, seconds in times.items():
        ratios = [] if name in servers else [f"{server} is {medians[name] / medians[server]:.2f}x" for server in servers]
        print(f"  {name:18} best {batch / min(seconds):7.2f}  median {batch / medians[name]:7.2f} img/s  " + ", ".join(ratios))


def floor(program: Path, options: argparse.Namespace, precision: str, batch: int) -> float:
    """The seconds a batch takes on this machine at least, measured by the program `floors`."""
    task = {"classification": "classify", "detection": "detect", "segmentation": "segment"}[options.task]
    size = options.size if "x" in options.size else f"{options.size}x{options.size}"
    command = [program, "--json", "--task", task, "--variant", options.variant, "--size", size, "--batch", str(batch),
               "--precision", precision, "--threads", str(options.threads), "--repeats", "1"]
    return batch * json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["floor_seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", type=Path, required=True, help="the program model_bench")
    parser.add_argument("--floors", type=Path, help="the program floors: prints the server's share of this machine's floor")
    parser.add_argument("--task", default="classification", choices=list(CLASSES))
    parser.add_argument("--variant", default="tiny")
    parser.add_argument("--size", default="224", help="N or HEIGHTxWIDTH")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--modes", nargs="+", default=["fp32", "bf16"], help="of the peer: fp32 bf16 compile-fp32 ...")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16"], help="of the server")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    height, _, width = options.size.partition("x")
    height, width = int(height), int(width or height)
    peer.install()
    reference = peer.network(options.task, options.variant, "cpu")
    compiled = torch.compile(reference) if any(mode.startswith("compile") for mode in options.modes) else None

    def run_peer(mode: str, x: torch.Tensor) -> torch.Tensor:
        network = compiled if mode.startswith("compile") else reference
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=mode.endswith("bf16")):
            return network(x)

    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.safetensors"
        state = {key.removeprefix("network."): value.contiguous() for key, value in reference.state_dict().items()}
        save_file(state, weights)
        models = {
            f"server {precision}": Model(options.bench, weights, options.task, options.variant, CLASSES[options.task],
                                         precision, options.threads)
            for precision in options.precisions
        }
        for batch in options.batch:
            values = synthetic.unit(1, "peer.input", batch * 3 * height * width)
            x = torch.from_numpy(values).float().view(batch, 3, height, width)
            pixels = Path(folder) / "pixels.bin"
            pixels.write_bytes(x.permute(0, 2, 3, 1).contiguous().numpy().tobytes())
            for model in models.values():
                model.load(pixels, batch, height, width)
            runs = {f"peer {mode}": functools.partial(timed, run_peer, mode, x) for mode in options.modes}
            runs |= {name: model.run for name, model in models.items()}
            times: dict[str, list[float]] = {name: [] for name in runs}
            for repeat in range(options.repeats + WARM_UPS):
                for name, run in runs.items():
                    time.sleep(0.05)  # the other's threads stop spinning
                    seconds = run()
                    if repeat >= WARM_UPS:
                        times[name].append(seconds)
            first = next(iter(models.values()))
            print(f"{options.task} {options.variant} {height}x{width} batch {batch}, {options.threads} threads, "
                  f"{first.instruction_set}", flush=True)
            report(times, batch)
            answer = run_peer("fp32", x)
            for name, model in models.items():
                print(f"  {name}: {disagreement(options.task, model.answer(), answer)}", flush=True)
            if options.floors:
                for precision in options.precisions:
                    least = floor(options.floors, options, precision, batch)
                    share = least / statistics.median(times[f"server {precision}"])
                    print(f"  server {precision}: {100 * share:.0f} % of the floor, {1e3 * least / batch:.1f} ms an image",
                          flush=True)
        for model in models.values():
            model.close()


if __name__ == "__main__":
    main()
