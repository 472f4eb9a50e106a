"""Every query of the Grafana dashboard, asked of a real Prometheus that scrapes a real server under load.

    python3 tests/monitoring/dashboard_test.py build/release/bin
    $SPATIALMAMBA_DEPS/python/bin/python tests/monitoring/dashboard_test.py build/release/bin --picture dashboard.png

--picture loads the server for longer, and draws the panels as they came out.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[2]
DASHBOARD = json.loads((TOP / "deploy/monitoring/dashboard.json").read_text())
DEPS = Path(os.environ.get("SPATIALMAMBA_DEPS", Path.home() / ".cache/spatial-mamba"))
PROMETHEUS = shutil.which("prometheus", path=f"{DEPS}/tools/bin:{os.environ['PATH']}")
DATA = TOP / "tests/data"
RATE_INTERVAL = "10s"
# Series that only a server with a GPU has.
OF_GPUS = re.compile(r"spatialmamba_device_")
# All models; callers that hang up, and that are in a hurry.
MIX = [
    {"name": "clothes", "weight": 60, "task": "classify", "images": [f"{DATA}/clothing"], "deadline": "2s"},
    {"name": "cells", "weight": 4, "task": "detect", "model": "bloodcells", "images": [f"{DATA}/bloodcells"],
     "deadline": "5s"},
    {"name": "nuclei", "weight": 2, "task": "detect", "model": "nuclei", "images": [f"{DATA}/nuclei"], "deadline": "5s",
     "cancel_share": 0.5},
    {"name": "land", "weight": 3, "task": "segment", "images": [f"{DATA}/aerial"], "deadline": "150ms"},
]
STEPS = {"test": (["60"], 12), "picture": (["10", "40", "80", "20"], 20)}


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def substituted(query: str) -> str:
    """As Grafana fills in variables with "All" chosen."""
    for name in ("job", "instance", "model"):
        query = query.replace(f"${name}", ".*")
    return query.replace("$__rate_interval", RATE_INTERVAL)


class Stack:
    """A server, and a Prometheus that scrapes it every second, with the rules."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.processes = programs, []
        ports = folder / "ports.json"
        self.start(programs / "spatial-mamba-server", "--config", TOP / "deploy/demo/config.yaml", "--ports-file", ports)
        self.wait(ports.exists, "the server is not ready")
        self.ports = json.loads(ports.read_text())
        config = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                  "rule_files": [str(TOP / "deploy/monitoring/rules.yaml")],
                  "scrape_configs": [{"job_name": "spatial-mamba",
                                      "static_configs": [{"targets": [f"127.0.0.1:{self.ports['admin']}"]}]}]}
        (folder / "prometheus.yaml").write_text(json.dumps(config))  # JSON is YAML
        self.address = f"http://127.0.0.1:{free_port()}"
        self.start(PROMETHEUS, f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data",
                   f"--web.listen-address={self.address.removeprefix('http://')}", "--log.level=error")
        self.wait(self.scrapes, "Prometheus scrapes nothing")

    def start(self, *command: object) -> None:
        self.processes.append(subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL,
                                               stderr=subprocess.DEVNULL))

    def wait(self, ready: Any, otherwise: str) -> None:
        deadline = time.monotonic() + 120
        while not ready():
            if time.monotonic() > deadline or any(process.poll() is not None for process in self.processes):
                self.stop()
                raise AssertionError(otherwise)
            time.sleep(0.1)

    def load(self, folder: Path, rates: list[str], seconds: int) -> None:
        mix = folder / "mix.json"
        mix.write_text(json.dumps(MIX))
        result = subprocess.run(
            [self.programs / "spatial-mamba-loadgen", "--server", f"127.0.0.1:{self.ports['grpc']}", "--mix", mix,
             "--rate", *rates, "--duration", f"{seconds}s", "--warmup", "100ms"], capture_output=True, text=True)
        measured, late = 0, 3  # on a busy machine it sends late, which does not matter here
        if result.returncode not in (measured, late):
            raise AssertionError(result.stderr)

    def ask(self, path: str, **parameters: object) -> Any:
        url = f"{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as reply:
                return json.load(reply)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def scrapes(self) -> bool:
        """False also while Prometheus does not answer yet."""
        try:
            with urllib.request.urlopen(f"{self.address}/-/ready", timeout=30):
                return bool(self.ask("query", query="up == 1")["result"])
        except urllib.error.URLError:
            return False

    def history(self, expression: str, begun: float) -> list[dict[str, Any]]:
        """Series that have a number in them, since `begun`."""
        series = self.ask("query_range", query=substituted(expression), start=begun, end=time.time(), step=1)["result"]
        return [each for each in series if any(math.isfinite(float(value)) for _, value in each["values"])]

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(timeout=60)


class Dashboard(unittest.TestCase):
    programs = Path()

    @classmethod
    def setUpClass(cls) -> None:
        if not PROMETHEUS:
            raise unittest.SkipTest("prometheus is not installed")
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.stack = Stack(cls.programs, Path(cls.folder.name))
        cls.addClassCleanup(cls.stack.stop)
        cls.begun = time.time()
        cls.stack.load(Path(cls.folder.name), *STEPS["test"])

    def test_every_query_returns_data_under_load(self) -> None:
        for panel in panels():
            for target in panel["targets"]:
                with self.subTest(panel["title"], query=target["expr"]):
                    found = self.stack.history(target["expr"], self.begun)
                    if not OF_GPUS.search(target["expr"]):
                        self.assertTrue(found, "no data")

    def test_every_variable_has_values(self) -> None:
        for variable in DASHBOARD["templating"]["list"]:
            if match := re.fullmatch(r"label_values\((.+), (\w+)\)", str(variable["query"].get("query", ""))
                                     if isinstance(variable["query"], dict) else ""):
                values = self.stack.ask(f"label/{match[2]}/values", **{"match[]": substituted(match[1])})
                self.assertTrue(values, variable["name"])

    def test_recorded_series_have_data(self) -> None:
        recorded = re.findall(r"- record: (\S+)", (TOP / "deploy/monitoring/rules.yaml").read_text())
        self.assertGreater(len(recorded), 10)
        for name in recorded:
            with self.subTest(name):
                self.assertTrue(self.stack.history(name, self.begun))

    def test_panels_are_complete(self) -> None:
        identifiers = [panel["id"] for panel in DASHBOARD["panels"]]
        self.assertEqual(len(identifiers), len(set(identifiers)))
        for panel in panels():
            with self.subTest(panel["title"]):
                self.assertTrue(panel["fieldConfig"]["defaults"]["unit"])
                self.assertEqual(panel["datasource"]["uid"], "${datasource}")
                self.assertTrue(panel["targets"])
                for target in panel["targets"]:
                    self.assertNotRegex(target["expr"], r"\bavg\b", "an average of averages")
                    self.assertNotRegex(target["expr"], r"\[\d", "a window that is not $__rate_interval")

    def test_every_metric_of_the_server_is_shown(self) -> None:
        """But for those of which others say the same."""
        page = self.stack.ask("label/__name__/values")
        shown = "\n".join(target["expr"] for panel in panels() for target in panel["targets"])
        hidden = {"spatialmamba_build_info", "spatialmamba_model_loaded", "process_max_fds", "process_virtual_memory_bytes"}
        for name in page:
            name = re.sub(r"_(bucket|sum|count)$", "", name)
            if name.startswith(("spatialmamba_", "process_")) and name not in hidden:
                self.assertIn(name, shown)


def draw(programs: Path, file: Path) -> None:
    from dashboard_picture import draw_panels

    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(programs, Path(folder))
        try:
            begun = time.time()
            stack.load(Path(folder), *STEPS["picture"])
            draw_panels(DASHBOARD, lambda expression: stack.history(expression, begun), begun, file)
        finally:
            stack.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", type=Path)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    if arguments.picture:
        draw(arguments.programs, arguments.picture)
    else:
        Dashboard.programs = arguments.programs
        unittest.main(argv=sys.argv[:1])
