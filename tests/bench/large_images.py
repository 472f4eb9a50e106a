"""Time and peak memory of a served segmenter against the number of pixels: whole, in tiles, and beside a vision transformer.

    make bench-large
    PYTHONPATH=clients/python python tests/bench/large_images.py --server build/release/bin/spatial-mamba-server \\
        --peer-python PYTHON_WITH_TORCH --plot large-images.png

Every picture goes to the server as a JPEG file and its label map comes back. Whole: the model's `preprocess.scale` is the
size of the picture, so nothing is shrunk. Tiles: of `--tile` pixels, at the same resolution. Seconds are the client's, from
sending to the answer; memory is the most that the server's process held from the call on (VmHWM, reset before), its
weights and a warm workspace included. The transformer (vit.py) has as many parameters; a size is left out when four times
the side would take it longer than `--patience`, going by the square of the tokens.
"""

from __future__ import annotations

import argparse
import io
import json
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
from PIL import Image
from spatial_mamba_client import Client, Tiling

TOP = Path(__file__).resolve().parents[2]
MEGABYTE = 1e6


class Server:
    """A server of one segmenter in a process of its own."""

    def __init__(self, program: Path, weights: Path, scale: int, folder: Path, threads: int):
        config, ports = folder / "config.yaml", folder / "ports.json"
        ports.unlink(missing_ok=True)
        config.write_text(
            f"listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nthreads: {threads}\nlog: {{level: warning}}\n"
            "limits: {decode_bytes: 4GiB}\n"
            f"models:\n  - {{name: model, weights: {weights}, preprocess: {{scale: [{scale}, {scale}]}},\n"
            f"     batching: {{max_batch_pixels: {scale * scale}}}}}\n"
        )
        self._process = subprocess.Popen([program, "--config", config, "--ports-file", ports])
        for _ in range(6000):
            if self._process.poll() is not None:
                raise SystemExit(f"the server ended with status {self._process.returncode}")
            if ports.exists() and self._is_ready(json.loads(ports.read_text())["admin"]):
                break
            time.sleep(0.1)
        self.target = f"127.0.0.1:{json.loads(ports.read_text())['grpc']}"

    @staticmethod
    def _is_ready(port: int) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def forget_peak(self) -> None:
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def peak(self) -> int:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(timeout=60)


def picture(source: Path, size: int) -> bytes:
    """A JPEG file of size x size pixels: the source, mirrored side by side."""
    with Image.open(source) as opened:
        rgb = np.asarray(opened.convert("RGB"))
    rgb = np.concatenate([rgb, rgb[::-1]])
    rgb = np.concatenate([rgb, rgb[:, ::-1]], axis=1)
    times = -(-size // rgb.shape[0]), -(-size // rgb.shape[1])
    file = io.BytesIO()
    Image.fromarray(np.tile(rgb, (*times, 1))[:size, :size]).save(file, "JPEG", quality=80)
    return file.getvalue()


def measured(server: Server, data: bytes, tiling: Tiling | None, repeats: int) -> dict[str, float]:
    with Client(server.target) as client:
        server.forget_peak()
        seconds, network = [], []
        for _ in range(repeats):
            start = time.monotonic()
            result = client.segment(data, explain=True, deadline=900.0, tiling=tiling)
            seconds.append(time.monotonic() - start)
            network.append(result.explanation.inference)
        return {
            "seconds": min(seconds),
            "network_seconds": min(network),
            "peak_bytes": server.peak(),
            "tiles": result.explanation.tiles,
            "batches": result.explanation.batches,
        }


def transformer(python: Path, size: int, threads: int) -> dict[str, float]:
    command = [python, TOP / "tests/bench/vit.py", "--size", str(size), "--threads", str(threads)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def plot(found: dict[str, dict[int, dict[str, float]]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.4), layout="constrained", dpi=120)
    quantities = (("seconds", "seconds", 1), ("peak_bytes", "peak memory, GB", 1e9))
    for axes, (key, label, unit) in zip(figure.subplots(1, 2), quantities):
        for (name, points), colour in zip(found.items(), ("#2563eb", "#16a34a", "#dc2626")):
            pixels = [size * size / 1e6 for size in points]
            axes.plot(pixels, [point[key] / unit for point in points.values()], marker="o", label=name, color=colour)
        axes.set(xscale="log", yscale="log", xlabel="megapixels", ylabel=label)
        axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", type=Path, default=TOP / "build/release/bin/spatial-mamba-server")
    parser.add_argument("--weights", type=Path, default=TOP / "deploy/models/aerial.safetensors")
    parser.add_argument("--source", type=Path, default=TOP / "tests/data/aerial/aerial-1.jpg")
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024, 2048, 4096, 8192])
    parser.add_argument("--tile", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer-python", type=Path, help="a Python with torch; without it there is no transformer")
    parser.add_argument("--patience", type=float, default=400, help="seconds for one forward of the transformer")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()

    whole, tiled, vit = "whole", f"tiles of {options.tile}", "ViT of equal parameters"
    found: dict[str, dict[int, dict[str, float]]] = {whole: {}, tiled: {}}

    def show(name: str, size: int, point: dict[str, float]) -> None:
        found.setdefault(name, {})[size] = point
        cut = f"  {point['tiles']:.0f} tiles in {point['batches']:.0f} batches" if point.get("tiles") else ""
        rate = size * size / point["seconds"] / MEGABYTE
        print(f"{name:24} {size:5} x {size:<5} {point['seconds']:8.2f} s  {rate:6.2f} megapixels/s  "
              f"{point['peak_bytes'] / MEGABYTE:8.0f} MB{cut}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        server = Server(options.server, options.weights.resolve(), options.tile, Path(folder), options.threads)
        for size in options.sizes:
            show(tiled, size, measured(server, picture(options.source, size), Tiling(options.tile), options.repeats))
        server.stop()
        for size in options.sizes:
            server = Server(options.server, options.weights.resolve(), size, Path(folder), options.threads)
            show(whole, size, measured(server, picture(options.source, size), None, options.repeats))
            server.stop()
    for size in options.sizes if options.peer_python else []:
        earlier = found.get(vit, {})
        if earlier:
            last = max(earlier)
            if earlier[last]["seconds"] * (size / last) ** 4 > options.patience:
                print(f"{vit:24} {size:5} x {size:<5} not measured: it would take longer than {options.patience:.0f} s")
                break
        show(vit, size, transformer(options.peer_python, size, options.threads))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    if options.plot:
        plot(found, options.plot)


if __name__ == "__main__":
    sys.exit(main())
