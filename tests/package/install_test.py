"""The installed tree: can be moved, brings its libraries and their licences, and works.

    python3 tests/package/install_test.py build/release
"""

import json
import re
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
GLIBC = re.compile(r"/(ld-linux-x86-64|lib(c|m|dl|rt|pthread|resolv|util|nss_\w+))\.so")


class InstalledTree(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = tempfile.TemporaryDirectory()
        first, cls.tree = Path(cls.folder.name) / "first", Path(cls.folder.name) / "moved/here"
        subprocess.run(["cmake", "--install", sys.argv[1], "--prefix", first], check=True, stdout=subprocess.DEVNULL)
        cls.tree.parent.mkdir()
        first.rename(cls.tree)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.folder.cleanup()

    def run_program(self, name: str, *arguments: object) -> str:
        result = subprocess.run([self.tree / "bin" / f"spatial-mamba-{name}", *map(str, arguments)], env={}, text=True,
                                capture_output=True, timeout=120)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def test_every_program_starts(self) -> None:
        for name in ("server", "cli", "loadgen", "convert"):
            self.assertIn("spatial-mamba", self.run_program(name, "--help").lower())

    def test_serves_with_its_own_libraries_and_drains(self) -> None:
        ports, config = self.tree / "ports.json", self.tree / "share/spatial-mamba/config.yaml"
        server = subprocess.Popen([self.tree / "bin/spatial-mamba-server", "--config", config, "--ports-file", ports, "--set",
                                   "listen=127.0.0.1:0", "--set", "admin=127.0.0.1:0"], env={}, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 120
            while not ports.exists() and server.poll() is None and time.monotonic() < deadline:
                time.sleep(0.1)
            self.assertTrue(ports.exists(), "the server did not become ready")
            loaded = set(re.findall(r"\S+\.so[.\d]*$", Path(f"/proc/{server.pid}/maps").read_text(), re.MULTILINE))
            self.assertEqual([path for path in loaded if str(self.tree) not in path and not GLIBC.search(path)], [])
            self.assertTrue(any("grpc++_reflection" in path for path in loaded), loaded)
            target = f"127.0.0.1:{json.loads(ports.read_text())['grpc']}"
            answer = self.run_program("cli", "--server", target, "classify", "--json", TOP / "tests/data/clothing/hat-1.jpg")
            self.assertIn('"name":"hat"', answer)
            server.terminate()
            self.assertEqual(server.wait(timeout=60), 0)
        finally:
            server.kill()
            server.wait()

    def test_every_library_has_its_licence(self) -> None:
        licences = {path.name for path in (self.tree / "share/doc/spatial-mamba/third-party").iterdir()}
        self.assertLessEqual({"torch-LICENSE.txt", "libgrpc++1.51.txt", "libcli11-dev.txt"}, licences)
        self.assertTrue((self.tree / "share/doc/spatial-mamba/LICENSE").exists())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
