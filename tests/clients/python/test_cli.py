from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
from fake_server import FakeServer, answer, busy, refuse
from PIL import Image
from spatial_mamba_client.cli import main


@pytest.fixture
def folder(tmp_path: Path, photos: Path) -> Path:
    """Two pictures, one of them in a subfolder, and a file that is none."""
    pictures = tmp_path / "pictures"
    (pictures / "more").mkdir(parents=True)
    (pictures / "hat.jpg").write_bytes((photos / "hat-1.jpg").read_bytes())
    (pictures / "more" / "hat.JPG").write_bytes((photos / "hat-1.jpg").read_bytes())
    (pictures / "notes.txt").write_text("not a picture")
    return pictures


def run(server: FakeServer, *arguments: object) -> int:
    return main(["--server", server.target, *map(str, arguments)])


def test_classify_prints_a_table(server: FakeServer, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(server, "classify", photos / "hat-1.jpg", "--top-k", 2) == 0
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split() == ["file", "class", "probability", "ms"]
    assert first.split()[0].endswith("hat-1.jpg")
    assert first.split()[1:4] == ["hat", "75.0", "%"]
    assert second.split() == ["shoes", "20.0", "%"]


def test_a_folder_means_the_pictures_in_it(server: FakeServer, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(server, "classify", folder, "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(line["file"]).relative_to(folder).as_posix() for line in lines] == ["hat.jpg", "more/hat.JPG"]
    assert lines[0]["classes"][0] == {"index": 0, "name": "hat", "probability": 0.75}
    assert lines[0]["image_size"] == {"height": 20, "width": 30}
    assert lines[0]["model"]["name"] == "clothing"


def test_a_picture_comes_from_standard_input(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"picture")))
    assert run(server, "classify", "-") == 0
    assert server.requests[0].images[0].encoded == b"picture"


def test_annotated_pictures_of_equal_names_are_all_kept(server: FakeServer, folder: Path, tmp_path: Path) -> None:
    assert run(server, "classify", folder, "--save-dir", tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["hat-2.png", "hat.png"]
    assert Image.open(tmp_path / "out" / "hat.png").width >= 320


def test_one_bad_file_does_not_stop_the_others(server: FakeServer, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def classify(request: object, context: grpc.ServicerContext) -> object:
        if request.images[0].encoded == b"bad":  # type: ignore[attr-defined]
            refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "images[0] is not a picture")
        return answer(request)

    server.classify = classify
    (folder / "bad.png").write_bytes(b"bad")
    assert run(server, "classify", folder / "bad.png", folder / "missing.png", folder / "hat.jpg") == 1
    captured = capsys.readouterr()
    assert "hat.jpg" in captured.out
    assert "INVALID_ARGUMENT: images[0] is not a picture" in captured.err
    assert "missing.png" in captured.err


def test_json_tells_errors_apart(server: FakeServer, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.classify = lambda request, context: busy(context, 0.01)
    assert run(server, "classify", folder / "hat.jpg", folder / "missing.png", "--json") == 1
    refused, missing = (json.loads(line)["error"] for line in capsys.readouterr().out.splitlines())
    assert (refused["code"], refused["reason"], refused["retry_delay_seconds"]) == ("UNAVAILABLE", "QUEUE_FULL", 0.01)
    assert missing["code"] == "LOCAL"


def test_models_are_listed(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(server, "models") == 0
    assert "clothing  1        classify" in capsys.readouterr().out


def test_health_is_the_exit_status(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(server, "health") == 0
    assert run(server, "health", "--service", "detect") == 1
    assert run(server, "health", "--service", "nothing") == 1
    assert capsys.readouterr().out.split() == ["SERVING", "NOT_SERVING"]


@pytest.mark.parametrize("command", [["health"], ["models"], ["classify", "photo"]])
def test_an_unreachable_server_is_exit_status_3(
    dead_target: str, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photo").write_bytes(b"picture")
    monkeypatch.chdir(tmp_path)
    assert main(["--server", dead_target, *command]) == 3
    assert dead_target in capsys.readouterr().err


def test_the_environment_names_the_server(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPATIALMAMBA_SERVER", server.target)
    assert main(["health"]) == 0


@pytest.mark.parametrize("arguments", [["classify"], ["fly"], ["classify", "x", "--top-k", "0"], ["--deadline", "0", "health"]])
def test_wrong_usage_is_exit_status_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_an_empty_folder_is_wrong_usage(server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(server, "classify", tmp_path) == 2
    assert "holds no pictures" in capsys.readouterr().err
