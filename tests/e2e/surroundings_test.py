"""The server where something is missing or full: one clear line and a clean end, or it serves all the same.

    python3 tests/e2e/surroundings_test.py build/release/bin/spatial-mamba-server
"""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request
from collections.abc import Callable
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
CONFIG = TOP / "deploy/demo/config.yaml"
PREFIX = "spatial-mamba-server: "


def limited(what: int, amount: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(what, (amount, amount))


class Surroundings(unittest.TestCase):
    server = ""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def refused(self, *arguments: object, before: Callable[[], None] | None = None) -> str:
        """The line that it ends with."""
        result = subprocess.run([self.server, *map(str, arguments)], preexec_fn=before, capture_output=True, text=True,
                                timeout=120)
        self.assertEqual(result.returncode, 1, result.stderr)
        lines = [line for line in result.stderr.splitlines() if line.startswith(PREFIX)]
        self.assertEqual(len(lines), 1, result.stderr)
        return lines[0]

    def started(self, *command: object, **more: object) -> tuple[subprocess.Popen[bytes], dict[str, int]]:
        ports = self.folder / "ports.json"
        process = subprocess.Popen([*map(str, command), "--config", CONFIG, "--ports-file", ports], **more)  # type: ignore[call-overload]
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        deadline = time.monotonic() + 120
        while not ports.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertTrue(ports.exists(), "it did not become ready")
        return process, json.loads(ports.read_text())

    def ready(self, port: int) -> bool:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=30).status == 200

    def ends_well(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        self.assertEqual(process.wait(timeout=60), 0)

    def test_ten_file_descriptors_are_too_few(self) -> None:
        line = self.refused("--config", CONFIG, before=limited(resource.RLIMIT_NOFILE, 10))
        self.assertIn("this process may open 10 files and connections; let it have 64 at least (ulimit -n, LimitNOFILE=)", line)

    def test_more_connections_than_file_descriptors_do_not_end_it(self) -> None:
        process, ports = self.started(self.server, stderr=subprocess.DEVNULL, preexec_fn=limited(resource.RLIMIT_NOFILE, 64))
        connections = [socket.create_connection(("127.0.0.1", ports["grpc"]), timeout=10) for _ in range(80)]
        time.sleep(0.5)
        for connection in connections:
            connection.close()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:  # the descriptors come back one by one
            try:
                if self.ready(ports["admin"]):
                    break
            except OSError:
                time.sleep(0.2)
        self.assertTrue(self.ready(ports["admin"]))
        self.ends_well(process)

    def test_the_soft_limit_of_file_descriptors_is_raised(self) -> None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        process, ports = self.started(self.server, stderr=subprocess.DEVNULL,
                                      preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (10, hard)))
        page = urllib.request.urlopen(f"http://127.0.0.1:{ports['admin']}/metrics", timeout=30).read().decode()
        self.assertIn(f"process_max_fds {hard}", page)
        self.ends_well(process)

    def test_too_little_memory(self) -> None:
        for mebibytes in (600, 1000, 1500):
            line = self.refused("--config", CONFIG, before=limited(resource.RLIMIT_AS, mebibytes << 20))
            self.assertIn(f"this process may map {mebibytes} MiB of memory; let it have 2048 MiB at least", line)

    def test_no_room_for_the_log(self) -> None:
        with open("/dev/full", "wb") as full:
            process, ports = self.started(self.server, stderr=full, stdout=full)
            self.assertTrue(self.ready(ports["admin"]))
            self.ends_well(process)

    def test_no_room_for_what_is_asked_for(self) -> None:
        with open("/dev/full", "wb") as full:
            result = subprocess.run([self.server, "--config", CONFIG, "--check-config"], stdout=full, stderr=subprocess.PIPE,
                                    text=True)
        self.assertEqual((result.returncode, result.stderr), (1, f"{PREFIX}standard output cannot be written\n"))
        # A folder that is not there, since root may write to every one that is.
        line = self.refused("--config", CONFIG, "--ports-file", self.folder / "nowhere/ports.json")
        self.assertIn("--ports-file", line)
        self.assertIn("cannot be written; give a file in a writable folder", line)

    def test_a_missing_file(self) -> None:
        self.assertIn("nowhere.yaml", self.refused("--config", self.folder / "nowhere.yaml"))
        line = self.refused("--config", CONFIG, "--set", "models.1.weights=gone.safetensors")
        self.assertIn("gone.safetensors", line)
        self.assertIn("models.1", line)

    def test_a_file_that_is_cut_off(self) -> None:
        whole = (TOP / "deploy/models/clothing.safetensors").read_bytes()
        (self.folder / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
        line = self.refused("--config", CONFIG, "--set", f"models.0.weights={self.folder}/cut.safetensors")
        self.assertIn("cut.safetensors", line)

    def test_a_port_in_use(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            for key in ("listen", "admin"):
                line = self.refused("--config", CONFIG, "--set", f"{key}={address}")
                self.assertIn(f"{key}: cannot listen on {address}", line)

    def test_a_read_only_root(self) -> None:
        """In a mount namespace of its own; /dev stays as it is, as in a container."""
        isolated = ["unshare", "--user", "--map-root-user", "--mount"]
        try:
            if subprocess.run([*isolated, "mount", "-o", "remount,bind,ro", "/"], capture_output=True).returncode != 0:
                self.skipTest("no user namespaces here, or no mounts in them")
        except FileNotFoundError:
            self.skipTest("unshare is not installed")
        log = (self.folder / "log").open("wb")
        ports = self.folder / "ports.json"
        # Only the folder for the ports file can be written.
        script = (f'mount --bind "{self.folder}" "{self.folder}" && mount -o remount,bind,ro / && ! touch /x 2>/dev/null && '
                  'exec "$@"')
        process, found = self.started(*isolated, "sh", "-c", script, "sh", self.server, stderr=log)
        self.assertTrue(ports.exists())
        self.assertTrue(self.ready(found["admin"]))
        self.ends_well(process)
        log.close()


if __name__ == "__main__":
    Surroundings.server = os.path.abspath(sys.argv[1])
    unittest.main(argv=sys.argv[:1])
