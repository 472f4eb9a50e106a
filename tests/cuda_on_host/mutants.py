#!/usr/bin/env python3
"""Sows the bugs of mutants.ini into copies of the kernels, one at a time, and expects the tests to find each.

Run from the top of the tree. Every build folder that a bug names is configured by its preset and built first. Exits
with 1 if a test found nothing, or did not say what it should.
"""

import argparse
import concurrent.futures
import configparser
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass

TREE = pathlib.Path(__file__).resolve().parents[2]
PRESETS = {"plain": "release", "asan": "asan", "tsan": "tsan"}
TIMEOUT_S = 300


@dataclass
class Mutant:
    name: str
    file: str  # from the top of the tree
    test: str  # the program whose test must find it, without _on_host_test
    replace: str = ""  # stands there once, or nth times
    by: str = ""
    delete: str = ""  # instead: the line that has this text
    nth: int = 0  # which of several, from 1
    build: str = "plain"  # or asan, tsan
    filter: str = "*"  # GoogleTest's
    says: str = "Failure"  # a regular expression for the test's output

    @property
    def program(self) -> str:
        return f"{self.test}_on_host_test"

    @property
    def folder(self) -> pathlib.Path:
        return TREE / "build" / PRESETS[self.build]


def read_mutants(file: pathlib.Path) -> list[Mutant]:
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str
    parser.read_string(file.read_text())
    mutants = []
    for name in parser.sections():
        values: dict = dict(parser[name])
        if "nth" in values:
            values["nth"] = int(values["nth"])
        mutants.append(Mutant(name, **values))
    return mutants


def mutate(mutant: Mutant, source: str) -> str:
    """The source with the bug. Raises ValueError if it has changed so that the bug fits no more."""
    wanted = mutant.delete or mutant.replace
    places = [match.start() for match in re.finditer(re.escape(wanted), source)]
    if not wanted or len(places) < max(mutant.nth, 1) or (mutant.nth == 0 and len(places) > 1):
        raise ValueError(f"'{wanted}' stands in {mutant.file} {len(places)} times")
    start = places[max(mutant.nth, 1) - 1]
    end = start + len(wanted)
    if mutant.delete:
        start = source.rfind("\n", 0, start) + 1
        end = source.find("\n", end) + 1
    return source[:start] + mutant.by + source[end:]


def includes(file: str, found: set[str]) -> set[str]:
    """The files of the tree that `file` includes, itself among them."""
    if file not in found and (TREE / file).is_file():
        found.add(file)
        for path in re.findall(r'#include "([^"]+)"', (TREE / file).read_text()):
            includes(path, found)
    return found


def compile_commands(folder: pathlib.Path) -> dict[str, list[str]]:
    """How the kernels are compiled for the CPU, by source."""
    commands = {}
    for entry in json.loads((folder / "compile_commands.json").read_text()):
        if "kernels_on_host.dir" in entry["command"] and entry["file"].endswith(".cu"):
            source = pathlib.Path(entry["file"]).relative_to(TREE)
            commands[str(source)] = shlex.split(entry["command"])
    return commands


def run(command: list[str], folder: pathlib.Path, **options) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, errors="replace", **options)


def checked(command: list[str], folder: pathlib.Path) -> str:
    result = run(command, folder)
    if result.returncode != 0:
        raise RuntimeError(f"{shlex.join(command)[:200]} ...\n{result.stdout[-2000:]}")
    return result.stdout


def build_program(mutant: Mutant, copies: pathlib.Path) -> pathlib.Path:
    """Compiles what has the bug in it, and links it before the library that holds the good form."""
    objects = []
    for source, command in compile_commands(mutant.folder).items():
        if mutant.file not in includes(source, set()):
            continue
        # The copies' folder is searched before the tree's.
        first = next(i for i, word in enumerate(command) if word.startswith("-I"))
        mended = [*command[:first], f"-I{copies}", *command[first:], "-O1"]
        objects.append(copies / f"{pathlib.Path(source).stem}.o")
        mended[mended.index("-o") + 1] = str(objects[-1])
        if source == mutant.file:
            mended[mended.index("-c") + 1] = str(copies / source)
        checked(mended, mutant.folder)
    if not objects:
        raise ValueError(f"no kernel includes {mutant.file}")
    # Ninja's command is ": && c++ ... -o PROGRAM ... && :"
    link = shlex.split(checked(["ninja", "-t", "commands", "-s", f"bin/{mutant.program}"], mutant.folder))
    link = link[link.index("&&") + 1 : -2]
    program = copies / "test"
    at = link.index("-o")
    link[at : at + 2] = [*map(str, objects), "-o", str(program)]
    checked(link, mutant.folder)
    return program


def fixed_addresses() -> list[str]:
    """ThreadSanitizer of g++ 12 needs addresses that are not randomised widely."""
    prefix = ["setarch", os.uname().machine, "-R"]
    return prefix if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0 else []


def try_mutant(mutant: Mutant) -> str:
    """What the test said of it; raises if it found nothing."""
    copies = mutant.folder / "mutants" / mutant.name
    copy = copies / mutant.file
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(mutate(mutant, (TREE / mutant.file).read_text()))
    program = build_program(mutant, copies)
    environment = os.environ | {"TSAN_OPTIONS": "halt_on_error=1", "ASAN_OPTIONS": "detect_leaks=0"}
    try:
        result = run([*fixed_addresses(), str(program), f"--gtest_filter={mutant.filter}", "--gtest_fail_fast"], TREE,
                     env=environment, timeout=TIMEOUT_S)
    finally:
        program.unlink()
    said = next((line for line in result.stdout.splitlines() if re.search(mutant.says, line)), None)
    if result.returncode == 0 or said is None:
        raise RuntimeError(f"exit status {result.returncode}, and no line with '{mutant.says}'")
    return said.strip()


def outcome(mutant: Mutant) -> tuple[bool, str]:
    try:
        return True, f"found   {mutant.build:5} {mutant.name}: {try_mutant(mutant)[:100]}"
    except (RuntimeError, ValueError, OSError, subprocess.SubprocessError) as error:
        return False, f"MISSED  {mutant.build:5} {mutant.name}: {error}"


def build_all(mutants: list[Mutant], jobs: int) -> None:
    for preset in sorted({PRESETS[mutant.build] for mutant in mutants}):
        programs = sorted({mutant.program for mutant in mutants if PRESETS[mutant.build] == preset})
        folder = TREE / "build" / preset
        if not (folder / "build.ninja").exists():
            subprocess.run(["cmake", "--preset", preset], cwd=TREE, check=True, stdout=subprocess.DEVNULL)
        subprocess.run([*fixed_addresses(), "ninja", "-C", str(folder), "-j", str(jobs), *programs], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="only bugs whose names begin so")
    parser.add_argument("--build", choices=PRESETS, help="only those of this build")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    mutants = [mutant for mutant in read_mutants(TREE / "tests/cuda_on_host/mutants.ini")
               if arguments.build in (None, mutant.build)
               and (not arguments.names or mutant.name.startswith(tuple(arguments.names)))]
    build_all(mutants, arguments.jobs)
    missed = 0
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for found, line in pool.map(outcome, mutants):
            print(line, flush=True)
            missed += not found
    print(f"{len(mutants) - missed} found, {missed} missed")
    return 1 if missed or not mutants else 0


if __name__ == "__main__":
    sys.exit(main())
