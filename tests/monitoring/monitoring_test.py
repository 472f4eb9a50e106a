"""The rules for Prometheus: valid, firing when they should, explained in the runbook, and about metrics that the server has.

    python3 tests/monitoring/monitoring_test.py build/release/bin/spatial-mamba-server
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
RULES = TOP / "deploy/monitoring/rules.yaml"
RUNBOOK = TOP / "deploy/monitoring/RUNBOOK.md"


def scraped(server: Path) -> str:
    """What a server with the demonstration models exposes once it is ready."""
    with tempfile.TemporaryDirectory() as folder:
        ports = Path(folder) / "ports.json"
        process = subprocess.Popen([server, "--config", TOP / "deploy/demo/config.yaml", "--ports-file", ports],
                                   stderr=subprocess.DEVNULL)
        try:
            for _ in range(600):
                time.sleep(0.1)
                if ports.exists():
                    url = f"http://127.0.0.1:{json.loads(ports.read_text())['admin']}/metrics"
                    page = urllib.request.urlopen(url, timeout=10).read().decode()
                    if 'health_state{state="serving"} 1' in page:
                        return page
            raise AssertionError("the server did not become ready within a minute")
        finally:
            process.terminate()
            process.wait(timeout=60)


class Monitoring(unittest.TestCase):
    def promtool(self, *arguments: object) -> None:
        if not shutil.which("promtool"):
            self.skipTest("promtool is not installed")
        result = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_rules_are_valid(self) -> None:
        self.promtool("check", "rules", RULES)

    def test_alerts_fire_when_they_should(self) -> None:
        self.promtool("test", "rules", TOP / "tests/monitoring/rules_test.yaml")

    def test_every_alert_fires_in_a_test_and_has_a_section_of_the_runbook(self) -> None:
        alerts = re.findall(r"- alert: (\w+)", RULES.read_text())
        self.assertGreater(len(alerts), 10)
        tests = (TOP / "tests/monitoring/rules_test.yaml").read_text()
        sections = re.findall(r"^## (\w+)$", RUNBOOK.read_text(), re.MULTILINE)
        self.assertEqual(sections, alerts)
        for alert in alerts:
            self.assertIn(f'runbook: "RUNBOOK.md#{alert.lower()}"', tests, alert)

    def test_rules_and_runbook_speak_of_metrics_that_the_server_has(self) -> None:
        page = scraped(Path(sys.argv[1]))
        exposed = set(re.findall(r"^(\w+)", page, re.MULTILINE))
        for file in (RULES, RUNBOOK):
            # Not the names of recorded series, which have colons.
            for name in re.findall(r"(?<![:\w])(?:spatialmamba|process)_\w+", file.read_text()):
                self.assertIn(name, exposed, f"{file.name} names {name}")

    def test_labels_of_the_rules_have_values_that_the_server_exposes(self) -> None:
        page = scraped(Path(sys.argv[1]))
        for label in ("state", "reason"):
            exposed = set(re.findall(rf'\b{label}="(\w+)"', page))
            for values in re.findall(rf'\b{label}=~?"([\w|]+)"', RULES.read_text()):
                self.assertLessEqual(set(values.split("|")), exposed)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
