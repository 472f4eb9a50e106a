"""Builds the stages of a Dockerfile without a container engine: overlay mounts for layers, chroot for RUN.

Only what this project's Dockerfile uses is understood; anything else is an error. Needs root and a mount namespace of its own.
The base images debian:12 and debian:12-slim are stood in for by what debootstrap makes (its smallest variant).
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

PATH = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
RELEASES = {"debian:12": "bookworm", "debian:12-slim": "bookworm"}
# What a build behind a proxy or a mirror is given by its surroundings.
PASSED_ON = re.compile(r"(?i)^(pip_.*|.*_proxy|ssl_cert_file)$")


class ReplayError(Exception):
    """A line of the Dockerfile that could not be carried out, and why."""


@dataclass
class Stage:
    """What FROM begins. `layers`: folders for an overlay, the newest first; `arguments`: what ARG declared."""

    name: str
    layers: list[Path]
    environment: dict[str, str]
    arguments: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0:0"
    command: dict[str, list[str]] = field(default_factory=dict)  # ENTRYPOINT, CMD, HEALTHCHECK
    labels: dict[str, str] = field(default_factory=dict)
    stop_signal: str = "SIGTERM"

    def inherit(self, name: str, layer: Path) -> Stage:
        return Stage(name, [layer, *self.layers], dict(self.environment), folder=self.folder, user=self.user,
                     command=dict(self.command), labels=dict(self.labels), stop_signal=self.stop_signal)


def instructions(dockerfile: Path) -> list[tuple[int, str, str]]:
    """(line number, KEYWORD, the rest) of each instruction; continued lines joined, comments gone."""
    found: list[tuple[int, str, str]] = []
    text, begun = "", 0
    for number, line in enumerate(dockerfile.read_text().splitlines(), 1):
        if line.lstrip().startswith("#") or not line.strip():
            continue
        begun = begun or number
        text += line.strip()
        if text.endswith("\\"):
            text = text[:-1]
            continue
        keyword, _, rest = text.partition(" ")
        found.append((begun, keyword.upper(), rest.strip()))
        text, begun = "", 0
    return found


def substitute(text: str, values: dict[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise ReplayError(f"${{{match[1]}}} is not declared by an ARG or ENV of this stage")
        return values[match[1]]
    return re.sub(r"\$\{(\w+)\}", value, text)


def context_files(top: Path) -> list[Path]:
    """The files that .dockerignore leaves in the build context, relative to `top`. The last pattern that fits a file wins."""
    patterns = [line for line in (top / ".dockerignore").read_text().split("\n") if line and not line.startswith("#")]

    def kept(path: Path) -> bool:
        keep = True
        for pattern in patterns:
            names = [str(path), *map(str, path.parents)]
            plain = pattern.lstrip("!")
            # In .dockerignore **/x is x at any depth, at the top too.
            if any(fnmatch.fnmatchcase(name, plain) or plain.startswith("**/") and Path(name).match(plain[3:])
                   for name in names):
                keep = pattern.startswith("!")
        return keep
    listed = subprocess.run(["git", "-C", top, "ls-files", "-z", "-co", "--exclude-standard"], capture_output=True, check=True)
    return [path for name in listed.stdout.decode().split("\0") if name and kept(path := Path(name)) and (top / path).is_file()]


class Replay:
    """Carries out a Dockerfile up to a target. `work`: a folder for layers, on a disk; `bases`: where base systems are kept;
    `prebuilt`: what stages have added to their bases, for stages that are not to be built."""

    def __init__(self, dockerfile: Path, work: Path, bases: Path, prebuilt: dict[str, Path]) -> None:
        self.dockerfile, self.work, self.bases, self.prebuilt = dockerfile, work, bases, prebuilt
        self.top = dockerfile.parent
        self.stages: dict[str, Stage] = {}
        self.mounts = 0

    def build(self, target: str) -> Stage:
        stages = self.needed(target)
        arguments: dict[str, str] = {}
        stage: Stage | None = None
        for number, keyword, rest in instructions(self.dockerfile):
            try:
                if keyword == "FROM":
                    stage = self.begin(substitute(rest, arguments), stages)
                elif keyword == "ARG" and not self.stages and stage is None:
                    name, _, default = rest.partition("=")
                    arguments[name] = default
                elif stage is not None:
                    self.carry_out(stage, keyword, rest)
            except (ReplayError, subprocess.CalledProcessError) as error:
                raise ReplayError(f"{self.dockerfile.name}:{number}: {keyword} {rest[:60]}: {error}") from error
        return self.stages[target]

    def needed(self, target: str) -> set[str]:
        """The stages that `target` is made from: as with a real builder, no other is built."""
        uses: dict[str, set[str]] = {}
        name = ""
        for _, keyword, rest in instructions(self.dockerfile):
            if keyword == "FROM":
                base, _, name = rest.partition(" AS ")
                uses[name] = {base}
            elif match := re.match(r"--from=(\S+)", rest):
                uses[name].add(match[1])
        if target not in uses:
            raise ReplayError(f"no stage is called {target}; there are {', '.join(uses)}")
        wanted: set[str] = set()
        todo = [target]
        while todo:
            if (name := todo.pop()) in uses and name not in wanted:
                wanted.add(name)
                todo += () if name in self.prebuilt else uses[name]
        return wanted

    def begin(self, rest: str, wanted: set[str]) -> Stage | None:
        base, _, name = rest.partition(" AS ")
        if name not in wanted:
            return None
        if name in self.prebuilt:
            self.stages[name] = Stage(name, [self.prebuilt[name], self.base("debian:12")], {})
            return None
        print(f"===== stage {name}, from {base}", flush=True)
        layer = self.work / name
        layer.mkdir(parents=True)
        parent = self.stages.get(base) or Stage(base, [self.base(base)], {"PATH": PATH})
        self.stages[name] = parent.inherit(name, layer)
        return self.stages[name]

    def base(self, image: str) -> Path:
        if image not in RELEASES:
            raise ReplayError(f"{image} cannot be stood in for; known are {', '.join(RELEASES)}")
        root = self.bases / RELEASES[image]
        if not (root / "etc/debian_version").exists():
            shutil.rmtree(root, ignore_errors=True)
            unfinished = root.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            subprocess.run(["debootstrap", "--variant=minbase", RELEASES[image], unfinished], check=True,
                           stdout=subprocess.DEVNULL)
            unfinished.rename(root)
        return root

    def carry_out(self, stage: Stage, keyword: str, rest: str) -> None:
        if keyword == "RUN":
            print(f"----- RUN {rest}", flush=True)
            with self.mounted(stage) as root:
                root.run(["/bin/sh", "-c", rest], stage)
            return
        rest = substitute(rest, stage.arguments | stage.environment)
        if keyword == "ARG":
            name, _, default = rest.partition("=")
            stage.arguments[name] = default
        elif keyword in ("ENV", "LABEL"):
            pairs = dict(pair.split("=", 1) for pair in shlex.split(rest))
            (stage.environment if keyword == "ENV" else stage.labels).update(pairs)
        elif keyword == "WORKDIR":
            stage.folder = rest
        elif keyword == "USER":
            stage.user = rest
        elif keyword == "STOPSIGNAL":
            stage.stop_signal = rest
        elif keyword in ("ENTRYPOINT", "CMD"):
            stage.command[keyword] = json.loads(rest)
        elif keyword == "HEALTHCHECK":
            stage.command[keyword] = json.loads(rest[rest.index("CMD ") + 4:])
        elif keyword == "COPY":
            self.copy(stage, rest.split())
        elif keyword != "EXPOSE":
            raise ReplayError("this instruction is not understood")

    def copy(self, stage: Stage, words: list[str]) -> None:
        source = None
        if words[0].startswith("--from="):
            source = self.stages[words.pop(0).removeprefix("--from=")]
        if len(words) != 2:
            raise ReplayError("one source and one destination are understood")
        destination = stage.layers[0] / os.path.normpath(os.path.join(stage.folder, words[1])).lstrip("/")
        if source:
            with self.mounted(source) as root:
                shutil.copytree(root.path / words[0].lstrip("/"), destination, symlinks=True, dirs_exist_ok=True)
            return
        below = Path(os.path.normpath(words[0]))
        for file in context_files(self.top):
            if below == Path() or below in (file, *file.parents):
                target = destination / file.relative_to(below)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self.top / file, target)

    def mounted(self, stage: Stage) -> Root:
        self.mounts += 1
        return Root(stage, self.work / f"mount-{self.mounts}")


class Root:
    """A stage mounted as a root folder, in a `with` statement."""

    def __init__(self, stage: Stage, path: Path) -> None:
        self.stage, self.path = stage, path

    def __enter__(self) -> Root:
        scratch = self.path.with_name(self.path.name + ".work")
        for folder in (self.path, scratch):
            folder.mkdir()
        lower = ":".join(map(str, self.stage.layers[1:]))
        options = f"lowerdir={lower},upperdir={self.stage.layers[0]},workdir={scratch}"
        mount("overlay", self.path, "-t", "overlay", "-o", options)
        for name in ("proc", "dev", "tmp", "sys", "etc"):
            (self.path / name).mkdir(exist_ok=True)
        mount("proc", self.path / "proc", "-t", "proc")
        mount("/dev", self.path / "dev", "--rbind")
        return self

    def __exit__(self, *_: object) -> None:
        while self.path.is_mount():  # there may be several, one over the other
            subprocess.run(["umount", "--recursive", "--lazy", self.path], check=True)

    def run(self, command: list[str], stage: Stage) -> None:
        """As a builder's RUN: with the network and the certificates of this machine."""
        passed = {name: value for name, value in os.environ.items() if PASSED_ON.match(name)}
        for name in ("/etc/resolv.conf", "/etc/hosts"):
            (self.path / name.lstrip("/")).touch()
            mount(name, self.path / name.lstrip("/"), "--bind")
        if "PIP_CERT" in passed:  # not where the system has its own: a package may want to write that
            certificates = self.path / "run/certificates.pem"
            certificates.touch()
            mount(passed["PIP_CERT"], certificates, "--bind")
            passed["PIP_CERT"] = "/run/certificates.pem"
        (self.path / stage.folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        script = 'cd "$0" && exec "$@"'
        subprocess.run(["chroot", self.path, "/bin/sh", "-c", script, stage.folder, *command], check=True,
                       stdin=subprocess.DEVNULL, env={"HOME": "/root", **passed, **stage.environment, **stage.arguments})


def mount(what: str, where: Path, *options: str) -> None:
    subprocess.run(["mount", *options, what, where], check=True)
