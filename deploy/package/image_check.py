"""Builds the container image without a container engine and runs it as a strict cluster would.

    sudo python3 deploy/package/image_check.py [--target cuda] [--prebuilt build/release]      (`make image-check`)

The Dockerfile is replayed on a bare Debian 12. Its last stage then runs as the image's user: no capabilities, no new
privileges, a read-only root, a network of its own with nothing but loopback. There the HEALTHCHECK has to pass, pictures have
to be answered, and a SIGTERM under load has to end in exit status 0 with no call lost. Root only, for mounts; takes a quarter
of an hour the first time, and 6 GB of disk while it runs.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from replay import Replay, ReplayError, Root, Stage, mount

TOP = Path(__file__).resolve().parents[2]
PICTURES = {"classify": "clothing", "detect": "bloodcells", "segment": "aerial"}
TOOLS = "/opt/spatial-mamba/bin"
GLIBC = re.compile(r"\s*lib(c|m|dl|rt|pthread|resolv|util)\.so")


class Container:
    """The image's stage with a read-only root; commands in it run as its user, in one network of its own."""

    def __init__(self, root: Root, stage: Stage) -> None:
        self.root, self.stage = root.path, stage
        pictures = self.root / "mnt"
        mount(str(TOP / "tests/data"), pictures, "--bind", "-o", "ro")
        (self.root / "etc/hosts").write_text("127.0.0.1 localhost\n")  # as engines do
        mount(str(self.root), self.root, "--rbind")
        mount(str(self.root), self.root, "-o", "remount,ro,bind")

    def command(self, words: list[str]) -> list[str]:
        user, group = self.stage.user.split(":")
        return ["chroot", str(self.root), "setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs",
                "--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--", *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command([*words]), env=self.stage.environment, capture_output=True, text=True, timeout=120)

    def start(self, *words: str, log: Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as stream:
            return subprocess.Popen(self.command([*words]), env=self.stage.environment, stdout=stream, stderr=stream)


class Checks:
    """Prints one line a check, and counts."""

    def __init__(self) -> None:
        self.passed = self.failed = 0

    def __call__(self, what: str, holds: bool, detail: str = "") -> None:
        self.passed += holds
        self.failed += not holds
        why = "" if holds or not detail else ": " + detail.strip()[-600:]
        print(f"{'ok     ' if holds else 'FAILED '} {what}{why}", flush=True)


def check_image(container: Container, check: Checks) -> None:
    """What can be told before the server runs."""
    writing = container.run("touch", "/opt/spatial-mamba/x")
    check("the root is read-only", "Read-only file system" in writing.stderr, writing.stderr)
    status = container.run("cat", "/proc/self/status").stdout
    check("the user is not root and has no capability", re.search(r"Uid:\t10001\t10001", status) is not None
          and all(int(value, 16) == 0 for value in re.findall(r"Cap(?:Prm|Eff|Bnd):\s*(\w+)", status)), status)
    for name in ("server", "cli", "loadgen", "convert"):
        listed = container.run("ldd", f"{TOOLS}/spatial-mamba-{name}").stdout
        foreign = [line for line in listed.splitlines()
                   if "not found" in line or "=>" in line and "/opt/spatial-mamba/" not in line and not GLIBC.match(line)]
        check(f"spatial-mamba-{name} needs nothing but glibc of the base", bool(listed) and not foreign, "\n".join(foreign))
    version = container.run(f"{TOOLS}/spatial-mamba-server", "--version")
    label = container.stage.labels["org.opencontainers.image.version"]
    check("the label tells the server's version", version.stdout.strip().endswith(label), version.stdout + version.stderr)


def check_life(container: Container, check: Checks, folder: Path) -> None:
    """Start, health, answers, and a drain under load."""
    log = folder / "server.log"
    begun = time.monotonic()
    server = container.start(*container.stage.command["ENTRYPOINT"], *container.stage.command["CMD"], log=log)
    try:
        healthy = False
        while not healthy and server.poll() is None and time.monotonic() < begun + 300:
            healthy = container.run(*container.stage.command["HEALTHCHECK"]).returncode == 0
            time.sleep(0.1)
        check(f"the health check passes, {time.monotonic() - begun:.1f} s after the start", healthy, log.read_text())
        if not healthy:
            return
        warnings = [line for line in log.read_text().splitlines() if not re.search(r"\binfo\b", line)]
        check("the log warns of nothing", not warnings, "\n".join(warnings))
        for task, data in PICTURES.items():
            picture = next(path for path in sorted((TOP / "tests/data" / data).rglob("*")) if path.suffix in (".jpg", ".png"))
            inside = f"/mnt/{picture.relative_to(TOP / 'tests/data')}"
            models = {"detect": ["--model", "bloodcells"]}.get(task, [])
            answer = container.run(f"{TOOLS}/spatial-mamba-cli", task, *models, inside)
            said = " ".join(answer.stdout.split())[:100]
            check(f"{task} answers {picture.name}: {said}", answer.returncode == 0, answer.stderr)

        report = folder / "load.json"
        load = container.start(f"{TOOLS}/spatial-mamba-loadgen", "--images", "/mnt/clothing", "--rate", "20",
                               "--duration", "6s", "--warmup", "100ms", "--deadline", "5s", "--json", "/dev/stdout", log=report)
        time.sleep(3)
        server.send_signal(getattr(signal, container.stage.stop_signal))
        status = server.wait(timeout=60)
        load.wait(timeout=60)
        lines = log.read_text()
        answered = lines.count(" request method=Classify code=0 ")
        check("the stop signal ends it with exit status 0", status == 0, f"status {status}\n{lines}")
        check(f"no accepted call was lost, of {answered}", answered > 10 and "failed_requests=0" in lines, lines)
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()


def install(build: Path, work: Path) -> Path:
    """What the Dockerfile's build stages add, from a build folder of this machine."""
    layer = work / "prebuilt"
    subprocess.run(["cmake", "--install", build, "--prefix", layer / "opt/spatial-mamba", "--strip"], check=True,
                   stdout=subprocess.DEVNULL)
    return layer


def size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="cpu", help="stage of the Dockerfile: cpu, cuda")
    parser.add_argument("--keep", type=Path, help="keep the image's files in this folder")
    parser.add_argument("--prebuilt", type=Path, metavar="BUILD",
                        help="take the programs from this build folder of this machine: that is a matter of a minute")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        print("image-check mounts file systems, which only root may do. Run:  sudo make image-check", file=sys.stderr)
        return 2
    if not arguments.inside:
        # Namespaces of its own: whatever happens, no mount and no process stays behind.
        os.execvp("unshare", ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private",
                              sys.executable, *sys.argv, "--inside"])
    bases = Path(os.environ.get("SPATIALMAMBA_DEPS", Path.home() / ".cache/spatial-mamba")) / "image-bases"
    bases.mkdir(parents=True, exist_ok=True)
    check = Checks()
    # Beside the bases, since the layers of an overlay cannot lie on another overlay.
    with tempfile.TemporaryDirectory(prefix="image-check-", dir=bases) as name:
        work = Path(name)
        begun = time.monotonic()
        try:
            prebuilt = {f"build-{arguments.target}": install(arguments.prebuilt, work)} if arguments.prebuilt else {}
            replay = Replay(TOP / "Dockerfile", work, bases, prebuilt)
            stage = replay.build(arguments.target)
        except ReplayError as error:
            print(f"FAILED  the image does not build: {error}")
            return 1
        print(f"===== {arguments.target}: built in {time.monotonic() - begun:.0f} s; "
              f"{size(stage.layers[0]) / 2**20:.0f} MiB beside the base; labels {json.dumps(stage.labels)}", flush=True)
        with replay.mounted(stage) as root:
            enter_own_network()
            container = Container(root, stage)
            check_image(container, check)
            check_life(container, check, work)
        if arguments.keep:
            shutil.copytree(stage.layers[0], arguments.keep, symlinks=True, dirs_exist_ok=True)
    print(f"{check.passed} passed, {check.failed} failed")
    return 1 if check.failed else 0


def enter_own_network() -> None:
    """One with a loopback interface and nothing else. (Python 3.12 has os.unshare; Debian 12 has 3.11.)"""
    clone_newnet, set_flags, up_and_running = 0x40000000, 0x8914, 0x41  # CLONE_NEWNET, SIOCSIFFLAGS, IFF_UP | IFF_RUNNING
    if ctypes.CDLL(None, use_errno=True).unshare(clone_newnet) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sH14x", b"lo", up_and_running))


if __name__ == "__main__":
    sys.exit(main())
