"""The demonstration's driver, with a stand-in for the server; the real one is run by `make demo`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

HERE = Path(__file__).parent
TOP = HERE.parents[2]
DEMO = TOP / "deploy/demo/demo.py"


def run_demo(tmp_path: Path, behaviour: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = tmp_path / "server"
    stand_in = f"'{sys.executable}' '{HERE}/fake_server_program.py'"
    program.write_text(f"#!/bin/sh\necho $$ > '{tmp_path}/pid'\nexec {stand_in} \"$@\"\n")
    program.chmod(0o755)
    config = tmp_path / "config"
    config.write_text(behaviour)
    return subprocess.run(
        [sys.executable, DEMO, "--server", program, "--config", config, "--output", tmp_path / "out", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": f"{TOP / 'clients/python'}:{HERE}"},
    )


def server_runs(tmp_path: Path) -> bool:
    return Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def test_the_demonstration_shows_every_picture_and_stops_its_server(tmp_path: Path, photos: Path) -> None:
    # The stand-in calls everything a hat, so the demonstration ends by saying that its answers are wrong.
    demo = run_demo(tmp_path, "well")
    assert demo.returncode == 1
    assert "most answers are wrong" in demo.stderr
    names = {file.stem for file in photos.parent.glob("*/*.jpg") if file.parent.name != "images"}
    assert names
    for name in names:
        assert f"{name}.jpg" in demo.stdout
    written = {file.name for file in (tmp_path / "out").iterdir()}
    assert written == {f"{name}.png" for name in names} | {"contact-sheet.png", "server.log"}
    assert Image.open(tmp_path / "out" / "contact-sheet.png").width > 4 * 480
    assert "exit status 0" in demo.stdout
    assert not server_runs(tmp_path)


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("dies", ["ended while it started", "cannot load the weights"]),
        ("never-ready", ["not ready after 2 s", "--start-timeout", "listening"]),
        ("bad-exit", ["exit status 7 after SIGTERM", "listening"]),
    ],
)
def test_a_failure_says_what_to_do_and_leaves_no_server(tmp_path: Path, behaviour: str, said: list[str]) -> None:
    demo = run_demo(tmp_path, behaviour, "--start-timeout", "2" if behaviour == "never-ready" else "60")
    assert demo.returncode == 1
    for text in said:
        assert text in demo.stderr
    assert not server_runs(tmp_path)


def test_a_missing_server_program_is_told_with_its_remedy(tmp_path: Path) -> None:
    demo = run_demo(tmp_path, "well", "--server", str(tmp_path / "nothing"))
    assert demo.returncode == 1
    assert "make build" in demo.stderr
