"""Goodput against offered load, for the server and for the peer behind Triton, on the same cores, weights and pictures.

    make bench-triton
    PYTHONPATH=clients/python python tests/bench/goodput.py --server build/release/bin/spatial-mamba-server \\
        --triton-python PYTHON_WITH_PYTRITON --plot goodput.png

One server at a time. First its offline rate: answers a second to `--callers` callers that each wait for their answer. Then open
loops: Poisson arrivals drawn beforehand, each request sent at its instant whatever became of the others. Goodput is the answers
within `--deadline` of the scheduled instant, a second; refused, failed and late ones are not in it. The load comes from the
same cores.
"""
from __future__ import annotations

import argparse
import json
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from spatial_mamba_client import Client, SpatialMambaError

TOP = Path(__file__).resolve().parents[2]
START_SECONDS = 300
MOST_IN_FLIGHT = 512

# Sends a picture with a deadline in seconds, and says whether it was answered.
Call = Callable[[bytes, float], bool]


@dataclass(frozen=True)
class Point:
    """One open loop."""

    offered: float  # requests a second
    goodput: float
    refused_or_failed: float
    late: float
    p50: float  # seconds, of the answers in time
    sent_late: float  # seconds: how late the 99th percentile was sent


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


def wait_until(ready: Callable[[], bool], process: subprocess.Popen) -> None:
    end = time.monotonic() + START_SECONDS
    while not ready():
        if process.poll() is not None:
            raise SystemExit(f"the server ended with status {process.returncode}")
        if time.monotonic() > end:
            process.kill()
            raise SystemExit("the server did not become ready")
        time.sleep(0.2)


@contextmanager
def stopped_at_end(process: subprocess.Popen) -> Iterator[None]:
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def ours(options: argparse.Namespace, weights: Path, folder: Path) -> Iterator[Call]:
    config, ports = folder / "config.yaml", folder / "ports.json"
    ports.unlink(missing_ok=True)
    config.write_text(
        f"listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nthreads: {options.threads}\nlog: {{level: error}}\n"
        f"models:\n  - {{name: model, weights: {weights}, task: classify, variant: {options.variant}, classes: imagenet,\n"
        f"     precision: {options.precision}}}\n"
    )
    process = subprocess.Popen([options.server, "--config", config, "--ports-file", ports])
    with stopped_at_end(process):
        wait_until(ports.exists, process)
        with Client(f"127.0.0.1:{json.loads(ports.read_text())['grpc']}") as client:

            def answers() -> bool:
                return classify(options.picture, 5.0)

            def classify(picture: bytes, deadline: float) -> bool:
                try:
                    client.classify(picture, "model", deadline=deadline)
                except SpatialMambaError:
                    return False
                return True

            wait_until(answers, process)
            yield classify


@contextmanager
def triton(options: argparse.Namespace, weights: Path, folder: Path) -> Iterator[Call]:
    import numpy
    import tritonclient.grpc

    port = free_port()
    command = [options.triton_python, TOP / "tests/bench/triton_peer.py", "--weights", weights, "--variant", options.variant,
               "--threads", options.threads, "--grpc-port", port, "--http-port", free_port()]
    log = (folder / "triton.log").open("w")
    process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)
    client = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{port}")

    def is_ready() -> bool:
        try:
            return client.is_model_ready("peer")
        except tritonclient.grpc.InferenceServerException:
            return False

    def classify(picture: bytes, deadline: float) -> bool:
        given = tritonclient.grpc.InferInput("jpeg", [1, 1], "BYTES")
        given.set_data_from_numpy(numpy.array([[picture]], dtype=object))
        try:
            client.infer("peer", [given], client_timeout=deadline)
        except tritonclient.grpc.InferenceServerException:
            return False
        return True

    with stopped_at_end(process):
        try:
            wait_until(is_ready, process)
        except SystemExit:
            print((folder / "triton.log").read_text()[-2000:], file=sys.stderr)
            raise
        yield classify
    client.close()


def closed_loop(call: Call, pictures: list[bytes], callers: int, seconds: float) -> float:
    """Answers a second."""
    end = time.monotonic() + seconds
    done = [0] * callers

    def run(caller: int) -> None:
        turn = caller
        while time.monotonic() < end:
            done[caller] += call(pictures[turn % len(pictures)], 60.0)
            turn += 1

    threads = [threading.Thread(target=run, args=(caller,)) for caller in range(callers)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / (time.monotonic() - start)


def open_loop(call: Call, pictures: list[bytes], rate: float, seconds: float, deadline: float, seed: int) -> Point:
    source = random.Random(seed)
    instants, at = [], 0.0
    while (at := at + source.expovariate(rate)) < seconds:
        instants.append(at)
    outcomes: list[tuple[float, float, bool]] = []  # sent late by, latency, answered

    def send(instant: float, picture: bytes) -> None:
        sent = time.monotonic() - start
        answered = call(picture, max(0.001, instant + deadline - sent))
        outcomes.append((sent - instant, time.monotonic() - start - instant, answered))

    with ThreadPoolExecutor(MOST_IN_FLIGHT) as pool:
        start = time.monotonic() + 0.1
        for number, instant in enumerate(instants):
            time.sleep(max(0.0, start + instant - time.monotonic()))
            pool.submit(send, instant, pictures[number % len(pictures)])
    latencies = [latency for _, latency, answered in outcomes if answered and latency <= deadline]
    late = sum(answered and latency > deadline for _, latency, answered in outcomes)
    return Point(
        offered=len(instants) / seconds,
        goodput=len(latencies) / seconds,
        refused_or_failed=sum(not answered for _, _, answered in outcomes) / seconds,
        late=late / seconds,
        p50=statistics.median(latencies) if latencies else 0.0,
        sent_late=sorted(lateness for lateness, _, _ in outcomes)[int(0.99 * len(outcomes))],
    )


def measured(name: str, call: Call, options: argparse.Namespace) -> dict[str, object]:
    closed_loop(call, options.pictures, options.callers, 3)
    alone = closed_loop(call, options.pictures, 1, options.duration)
    offline = closed_loop(call, options.pictures, options.callers, options.duration)
    print(f"{name}: one caller {alone:.1f}/s, {options.callers} callers {offline:.1f}/s", flush=True)
    points = []
    for rate in options.rates:
        point = open_loop(call, options.pictures, rate, options.duration, options.deadline, seed=1)
        points.append(asdict(point))
        print(f"  offered {point.offered:6.1f}/s  goodput {point.goodput:6.1f}/s  refused or failed "
              f"{point.refused_or_failed:6.1f}/s  late {point.late:5.1f}/s  median {1e3 * point.p50:5.0f} ms  "
              f"(sent late by {1e3 * point.sent_late:.1f} ms)", flush=True)
        time.sleep(2)  # what nobody waits for any more
    return {"one_caller": alone, "offline": offline, "points": points}


def plot(found: dict[str, dict], options: argparse.Namespace) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.4), layout="constrained", dpi=120)
    axes = figure.subplots()
    top = max(options.rates)
    axes.plot([0, top], [0, top], color="#999999", linestyle=":", label="everything in time")
    for (name, result), colour in zip(found.items(), ("#2563eb", "#16a34a", "#dc2626")):
        offered = [point["offered"] for point in result["points"]]
        axes.plot(offered, [point["goodput"] for point in result["points"]], marker="o", label=name, color=colour)
    axes.set(xlabel="requests a second, offered", ylabel=f"answers within {1e3 * options.deadline:.0f} ms, a second",
             ylim=(0, None), xlim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(options.plot)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", type=Path, default=TOP / "build/release/bin/spatial-mamba-server")
    parser.add_argument("--triton-python", type=Path, required=True, help="a Python with torch and nvidia-pytriton")
    parser.add_argument("--images", type=Path, nargs="+", default=sorted((TOP / "tests/data/bloodcells").glob("*.jpg")))
    parser.add_argument("--variant", default="tiny")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"], help="of the server")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--deadline", type=float, default=0.5)
    parser.add_argument("--rates", type=float, nargs="+", default=[4, 8, 12, 16, 24, 36, 48, 64, 96, 128])
    parser.add_argument("--duration", type=float, default=15)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    options.pictures = [file.read_bytes() for file in options.images]
    options.picture = options.pictures[0]
    found: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = folder / "weights.safetensors"
        make = ("import sys; sys.path.insert(0, sys.argv[1]); import peer; from safetensors.torch import save_file; "
                "n = peer.network('classification', sys.argv[3], 'cpu'); "
                "save_file({k: v.contiguous() for k, v in n.state_dict().items()}, sys.argv[2])")
        subprocess.run([options.triton_python, "-c", make, TOP / "tests/oracle", weights, options.variant], check=True)
        with triton(options, weights, folder) as call:
            found["Triton, PyTorch bf16"] = measured("Triton, PyTorch bf16", call, options)
        for precision in options.precisions:
            options.precision = precision
            with ours(options, weights, folder) as call:
                found[f"Spatial-Mamba Server, {precision}"] = measured(f"Spatial-Mamba Server, {precision}", call, options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    if options.plot:
        plot(found, options)


if __name__ == "__main__":
    sys.exit(main())
