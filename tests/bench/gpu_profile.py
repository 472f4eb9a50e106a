"""Where a forward's time goes on a GPU, kernel by kernel, as Nsight Compute reads it.

    python3 tests/bench/gpu_profile.py --program build/gpu/bin/gpu_bench --out build/gpu-results --batches 1 64

For each batch size one forward is run under ncu (clocks and caches left as they are) and its kernels are added up by name:
launches, microseconds, share, gigabytes moved to and from memory, their rate, and that as a share of the copy bandwidth
measured just before. The sum of the kernels' times is larger than a replay of the graph takes, because ncu lets none overlap.
Every launch in its order goes to OUT/profile-*.txt.
"""
from __future__ import annotations

import argparse
import csv
import json
import re
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

METRICS = {"time": "gpu__time_duration.sum", "bytes": "dram__bytes.sum"}
UNITS = {"second": 1.0, "s": 1.0, "msecond": 1e-3, "ms": 1e-3, "usecond": 1e-6, "us": 1e-6, "nsecond": 1e-9, "ns": 1e-9,
         "byte": 1.0, "Kbyte": 1e3, "Mbyte": 1e6, "Gbyte": 1e9}


@dataclass
class Launch:
    kernel: str
    grid: str
    block: str
    seconds: float
    bytes: float


def short_name(name: str) -> str:
    """void spatialmamba::(anonymous namespace)::Scan<float, (int)2>(Params) -> Scan<float, 2>"""
    name = re.sub(r"\(anonymous namespace\)::|<unnamed>::|spatialmamba::|\((?:int|bool|unsigned int)\)|^void ", "", name)
    depth, end = 0, len(name)
    for i, letter in enumerate(name):
        depth += (letter == "<") - (letter == ">")
        if letter == "(" and depth == 0:
            end = i
            break
    return name[:end].strip().replace("__nv_bfloat16", "bf16")


def parse(text: str) -> list[Launch]:
    """The launches in ncu's CSV of the page `raw`: a line of names, a line of units, a line for each launch."""
    lines = [line for line in text.splitlines() if line.startswith('"')]
    rows = list(csv.DictReader(lines))
    if not rows:
        raise RuntimeError("ncu reported no kernel:\n" + text[-2000:])
    units, launches = rows[0], []

    def value(row: dict[str, str], metric: str) -> float:
        number = row[metric].replace(",", "")
        return float(number) * UNITS[units[metric]] if number else 0.0

    for row in rows[1:]:
        launches.append(Launch(short_name(row["Kernel Name"]), row.get("Grid Size", ""), row.get("Block Size", ""),
                               value(row, METRICS["time"]), value(row, METRICS["bytes"])))
    return launches


def table(launches: list[Launch], bandwidth: float) -> str:
    groups: dict[str, list[Launch]] = defaultdict(list)
    for launch in launches:
        groups[launch.kernel].append(launch)
    total = sum(launch.seconds for launch in launches)
    lines = [f"{'kernel':60} {'count':>5} {'us':>9} {'share':>6} {'GB':>8} {'GB/s':>7} {'of copy':>7}"]

    def line(name: str, group: list[Launch]) -> str:
        seconds, moved = sum(x.seconds for x in group), sum(x.bytes for x in group)
        return (f"{name[:60]:60} {len(group):5} {seconds * 1e6:9.1f} {seconds / total:6.1%} {moved * 1e-9:8.3f} "
                f"{moved / seconds * 1e-9:7.0f} {moved / seconds / bandwidth:7.0%}")

    lines += [line(name, group) for name, group in sorted(groups.items(), key=lambda x: -sum(y.seconds for y in x[1]))]
    lines.append(line("all", launches))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, required=True, help="the program gpu_bench")
    parser.add_argument("--out", type=Path, default=Path("build/gpu-results"))
    parser.add_argument("--ncu", default="ncu")
    parser.add_argument("--task", default="classify")
    parser.add_argument("--variant", default="tiny")
    parser.add_argument("--size", default="224")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 1])
    parser.add_argument("--limit", type=int, default=60, help="seconds for each")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    model = ["--tasks", options.task, "--variants", options.variant, "--sizes", options.size, "--precisions", options.precision]
    figures = options.out / "profile.json"
    subprocess.run([options.program, *model, "--batches", ",".join(map(str, options.batches)), "--seconds", "0.1",
                    "--json", figures], check=True, timeout=options.limit)
    bandwidth = json.loads(figures.read_text())["copy_bytes_per_second"]
    failed = 0
    for batch in options.batches:
        name = f"{options.task}-{options.variant}-{options.size}-{options.precision}-{batch}"
        command = [options.ncu, "--csv", "--page", "raw", "--print-units", "base", "--clock-control", "none",
                   "--cache-control", "none", "--profile-from-start", "off", "--metrics", ",".join(METRICS.values()),
                   options.program, "--once", *model, "--batches", str(batch)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=options.limit, check=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            print(f"\n{name}: {error}\n{error.stdout}\n{error.stderr}"[:3000])
            failed += 1
            continue
        (options.out / f"profile-{name}.csv").write_text(done.stdout)
        launches = parse(done.stdout)
        text = "\n".join(f"{x.seconds * 1e6:9.2f} us {x.bytes * 1e-6:9.2f} MB {x.bytes / x.seconds * 1e-9:6.0f} GB/s  "
                         f"{x.grid:>18} {x.block:>14}  {x.kernel}" for x in launches)
        (options.out / f"profile-{name}.txt").write_text(text + "\n")
        print(f"\n{name}: {len(launches)} kernels\n{table(launches, bandwidth)}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
