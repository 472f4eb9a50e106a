"""Draws what tests/bench/autoscaling found.

    build/release/bin/autoscaling --json autoscaling.json
    python tests/bench/autoscaling_plot.py autoscaling.json deploy/monitoring/autoscaling.png --target 0.7

Above: replicas over time, a row for each device and a column for each pattern, beside the devices' worth of requests that
arrive.
Below: what each signal answers in time and costs, and what other targets of the offered load would bring.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = {"offered load": "#2563eb", "CPU": "#dc2626", "GPU utilisation": "#dc2626", "queue time": "#d97706",
           "in flight": "#16a34a"}
TITLES = {"cpu": "CPU (tiny, fp32)", "gpu": "GPU (tiny, bf16)"}
SMOOTHED = 6  # intervals of arrivals


def draw_replicas(axes: Axes, device: dict[str, Any], index: int) -> None:
    for signal in device["signals"]:
        pattern = signal["patterns"][index]
        series = pattern["series"]
        minutes = [i * series["seconds"] / 60 for i in range(len(series["offered"]))]
        if signal is device["signals"][0]:
            rates = [sum(series["offered"][max(0, i - SMOOTHED + 1) : i + 1]) / min(i + 1, SMOOTHED) / series["seconds"]
                     for i in range(len(minutes))]
            axes.fill_between(minutes, [rate / device["device_rate"] for rate in rates], color="#cbd5e1", label="arrivals")
        axes.plot(minutes, series["replicas"], color=COLOURS[signal["signal"]], linewidth=1.2,
                  label=f"{signal['signal']}, {signal['target']:g}")
    axes.set(xlabel="minutes", xlim=(0, None), ylim=(0, 21))
    axes.set_title(f"{pattern['pattern']}, {TITLES[device['device']]}", fontsize=9)
    axes.grid(alpha=0.3)


def draw_signals(axes: Axes, device: dict[str, Any]) -> None:
    markers = {"ramp": "o", "day": "s", "step": "^", "bursts": "D"}
    for signal in device["signals"]:
        for pattern in signal["patterns"]:
            axes.scatter(pattern["mean_replicas"], 100 * pattern["in_time_share"], marker=markers[pattern["pattern"]],
                         color=COLOURS[signal["signal"]], s=28)
    for name, marker in markers.items():
        axes.scatter([], [], marker=marker, color="#64748b", s=28, label=name)
    axes.set(xlabel="replicas, mean", ylabel="answered in time, %", xlim=(0, 21))
    axes.set_title(f"Signals, {TITLES[device['device']]}", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)


def draw_targets(axes: Axes, device: dict[str, Any], target: float | None) -> None:
    styles = dict(zip(sorted({each["start_up"] for each in device["trade_off"]}), ("-", "--")))
    colours = {"ramp": "#2563eb", "day": "#16a34a", "step": "#dc2626", "bursts": "#d97706"}
    for start_up, style in styles.items():
        for name, colour in colours.items():
            points = [each for each in device["trade_off"] if each["pattern"] == name and each["start_up"] == start_up]
            axes.plot([each["target"] for each in points], [100 * each["in_time_share"] for each in points], style,
                      color=colour, linewidth=1.2, label=f"{name}, {start_up:g} s")
    axes.axhline(99, color="#64748b", linewidth=0.8, linestyle=":")
    if target:
        axes.axvline(target, color="#64748b", linewidth=0.8, linestyle=":")
    axes.set(xlabel="target of the offered load", ylabel="answered in time, %", ylim=(88, 100.5))
    axes.set_title(f"Targets and start-up, {TITLES[device['device']]}", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=6, ncols=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("found", type=Path, help="what autoscaling --json wrote")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--target", type=float, help="marks this one")
    options = parser.parse_args()
    devices = json.loads(options.found.read_text())
    figure = Figure(figsize=(13, 3.1 * (len(devices) + 1)), layout="constrained", dpi=100)
    grid = figure.add_gridspec(len(devices) + 1, 4)
    for row, device in enumerate(devices):
        for column in range(4):
            axes = figure.add_subplot(grid[row, column])
            draw_replicas(axes, device, column)
            if column == 0:
                axes.set_ylabel("replicas")
                axes.legend(fontsize=7, loc="upper left")
        draw_signals(figure.add_subplot(grid[len(devices), 2 * row]), device)
        draw_targets(figure.add_subplot(grid[len(devices), 2 * row + 1]), device, options.target)
    figure.savefig(options.picture)


if __name__ == "__main__":
    main()
