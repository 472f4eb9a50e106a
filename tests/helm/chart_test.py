"""The Helm chart, rendered by the real helm.

    $SPATIALMAMBA_DEPS/chart/bin/python tests/helm/chart_test.py build/release/bin/spatial-mamba-server [--update]

--update writes the golden files anew; look at their difference before you commit it.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from cases import CONTRACT, GOLDEN, REFUSED, Values
from cloudcoil.models.keda.v1alpha1 import ScaledObject
from cloudcoil.models.prometheus_operator.v1 import PodMonitor, PrometheusRule, ServiceMonitor

TOP = Path(__file__).resolve().parents[2]
CHART = TOP / "helm"
GOLDEN_FOLDER = Path(__file__).resolve().parent / "golden"
DEPS = Path(os.environ.get("SPATIALMAMBA_DEPS", Path.home() / ".cache/spatial-mamba"))
HELM = shutil.which("helm", path=f"{DEPS}/tools/bin:{os.environ['PATH']}")
MODELS = {"ScaledObject": ScaledObject, "ServiceMonitor": ServiceMonitor, "PodMonitor": PodMonitor,
          "PrometheusRule": PrometheusRule}
# The first that Chart.yaml admits, and the last whose schemas are at hand (they take ten times as long).
OLDEST, NEWEST = "1.27", "1.37"
# Values of cases whose configuration not every build of the server can carry out, and the key that it then names.
NOT_IN_EVERY_BUILD = {"tls": "tls", "auth": "auth", "gpu": "device"}


def helm(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(HELM), *map(str, arguments)], capture_output=True, text=True)


def render(values: Values, *more: str) -> subprocess.CompletedProcess[str]:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(values, file)
        file.flush()
        return helm("template", "spatial-mamba", CHART, "--namespace", "vision", "-f", file.name, *more)


def objects(text: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(text) if each]


def one(rendered: list[dict[str, Any]], kind: str, name: str = "") -> dict[str, Any]:
    found = [each for each in rendered if each["kind"] == kind and each["metadata"]["name"].endswith(name)]
    assert len(found) == 1, f"{len(found)} objects of kind {kind}"
    return found[0]


class Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such."""

    def represent_text(self, text: str) -> yaml.Node:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Dumper.add_representer(str, Dumper.represent_text)


def golden_text(rendered: list[dict[str, Any]]) -> str:
    """For the golden file: whole files that the chart carries are left out, other tests compare them."""
    for each in rendered:
        if each["kind"] == "PrometheusRule":
            each["spec"] = "deploy/monitoring/rules.yaml"
        if "spatial-mamba.json" in each.get("data", {}):
            each["data"]["spatial-mamba.json"] = "deploy/monitoring/dashboard.json"
    return yaml.dump_all(rendered, Dumper=Dumper, width=120)


def refused_by_server(server: str, values: Values, rendered: list[dict[str, Any]]) -> str:
    """Empty if the server takes the rendered configuration, else what it says."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(next(each["data"]["config.yaml"] for each in rendered if "config.yaml" in each.get("data", {})))
        file.flush()
        result = subprocess.run([server, "--config", file.name, "--check-config"], capture_output=True, text=True)
    lacking = [key for value, key in NOT_IN_EVERY_BUILD.items() if value in values]
    if any(re.search(rf": {key}\S*: not supported by this version", result.stderr) for key in lacking):
        return ""
    return result.stderr if result.returncode != 0 else ""


def misfit(each: dict[str, Any], versions: tuple[str, ...]) -> str:
    """Empty if an object fits its schema, else why not."""
    try:
        if model := MODELS.get(each["kind"]):
            # A model drops keys that it does not know: all must be there on the way back.
            kept = model.model_validate(each).model_dump(mode="json", by_alias=True, exclude_unset=True)
            lost = sorted(set(paths(each)) - set(paths(kept)))
            return f"keys that its schema does not have: {lost}" if lost else ""
        if each["kind"] != "GRPCRoute":  # its schema is not at hand; the golden file shows it
            volumes = each.get("spec", {}).get("template", {}).get("spec", {}).get("volumes", [])
            for version in (NEWEST,) if any("image" in volume for volume in volumes) else versions:
                kubernetes_validate.validate(each, version, strict=True)
    except Exception as error:  # each of the validators has kinds of its own
        return str(error).partition("\n")[0]
    return ""


def paths(value: Any, at: str = "") -> list[str]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, inner in items for path in paths(inner, f"{at}.{key}"))]


def misfits(rendered: list[dict[str, Any]], *versions: str) -> list[str]:
    return [f"{each['kind']} {each['metadata']['name']}: {why}" for each in rendered if (why := misfit(each, versions))]


class Chart(unittest.TestCase):
    maxDiff = None
    server = ""
    update = False

    def rendered(self, values: Values, *more: str) -> list[dict[str, Any]]:
        result = render(values, *more)
        self.assertEqual(result.returncode, 0, result.stderr)
        return objects(result.stdout)

    def each(self, cases: list[tuple[str, Values]], check: Callable[[str, Values], None]) -> None:
        """Several at a time, since most of a case is a process of helm."""
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for (name, values), done in [(case, pool.submit(check, *case)) for case in cases]:
                with self.subTest(name, values=values):
                    done.result()

    def test_lint_finds_nothing(self) -> None:
        result = helm("lint", "--strict", CHART)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_renders_are_as_the_golden_files_say(self) -> None:
        def check(name: str, values: Values) -> None:
            text, file = golden_text(self.rendered(values)), GOLDEN_FOLDER / f"{name}.yaml"
            if self.update:
                file.write_text(text)
            self.assertMultiLineEqual(file.read_text(), text)
        self.each([*GOLDEN.items()], check)
        self.assertEqual({file.stem for file in GOLDEN_FOLDER.iterdir()}, set(GOLDEN))

    def test_renders_fit_the_schemas_and_the_server_takes_their_configuration(self) -> None:
        def check(name: str, values: Values) -> None:
            rendered = self.rendered(values)
            self.assertEqual(misfits(rendered, OLDEST, *([NEWEST] if name in GOLDEN else [])), [])
            self.assertEqual(refused_by_server(self.server, values, rendered), "")
        self.each([*GOLDEN.items(), *((f"contract {values}", values) for values in CONTRACT)], check)

    def test_what_cannot_work_is_refused_with_the_remedy(self) -> None:
        def check(words: str, values: Values) -> None:
            result = render(values)
            self.assertNotEqual(result.returncode, 0, f"{values} is taken")
            self.assertIn(words, result.stderr)
        self.each([(words, values) for values, words in REFUSED], check)

    def test_image_volumes_are_refused_where_kubernetes_has_none(self) -> None:
        result = render({"models": {"source": "oci"}}, "--kube-version", "1.32.4")
        self.assertIn("needs Kubernetes 1.33", result.stderr)

    def test_rules_and_dashboard_are_the_tested_files(self) -> None:
        rendered = self.rendered({"monitoring": {"rules": True, "dashboard": True}})
        rules = yaml.safe_load((TOP / "deploy/monitoring/rules.yaml").read_text())
        self.assertEqual(one(rendered, "PrometheusRule")["spec"], rules)
        dashboard = json.loads((TOP / "deploy/monitoring/dashboard.json").read_text())
        self.assertEqual(json.loads(one(rendered, "ConfigMap", "-dashboard")["data"]["spatial-mamba.json"]), dashboard)

    def test_the_job_is_one_that_the_rules_find(self) -> None:
        monitor = one(self.rendered({"monitoring": {"serviceMonitor": True}}), "ServiceMonitor")
        jobs = [each["replacement"] for each in monitor["spec"]["endpoints"][0]["relabelings"] if each["targetLabel"] == "job"]
        for pattern in re.findall(r'job=~"([^"]+)"', (TOP / "deploy/monitoring/rules.yaml").read_text()):
            self.assertRegex(jobs[0], f"^(?:{pattern})$")

    def test_pods_are_restricted(self) -> None:
        """What the pod security standard "restricted" asks of every pod and container of ours."""
        for values in ({}, {"models": {"source": "init"}}):
            rendered = self.rendered(values)
            for pod in (one(rendered, "Deployment")["spec"]["template"]["spec"], one(rendered, "Pod")["spec"]):
                self.assertTrue(pod["securityContext"]["runAsNonRoot"])
                self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
                self.assertFalse(pod["automountServiceAccountToken"])
                for container in pod["containers"] + pod.get("initContainers", []):
                    self.assertEqual(container["securityContext"], {
                        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}})

    def test_a_package_holds_the_rules_and_no_links(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            result = helm("package", CHART, "-d", folder)
            self.assertEqual(result.returncode, 0, result.stderr)
            package = next(Path(folder).iterdir())
            with tarfile.open(package) as archive:
                rules = archive.extractfile("spatial-mamba-server/files/rules.yaml")
                self.assertEqual(rules.read() if rules else b"", (TOP / "deploy/monitoring/rules.yaml").read_bytes())
            self.assertEqual(helm("template", "x", package, "--set", "monitoring.rules=true").returncode, 0)


if __name__ == "__main__":
    Chart.server, Chart.update = sys.argv[1], "--update" in sys.argv
    unittest.main(argv=sys.argv[:1])
