"""`spatial-mamba evaluate`: data sets, scores, reports, errors."""

from __future__ import annotations

import io
import json
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from fake_server import FakeServer, find, refuse
from PIL import Image
from spatial_mamba_client import messages
from spatial_mamba_client.cli import main
from spatial_mamba_client.evaluation import classification, data_sets, detection

COLOURS = {"hat": (250, 10, 10), "shoes": (10, 250, 10), "pants": (10, 10, 250)}


def run(server: FakeServer, *arguments: object) -> int:
    return main(["--server", server.target, "evaluate", *map(str, arguments)])


def said(server: FakeServer, capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert run(server, *arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


def three_models(_: Any, __: grpc.ServicerContext) -> Any:
    response = messages.ListModelsResponse()
    known = (("clothing", COLOURS), ("cells", ("red", "white")), ("streets", ("sky", "road")))
    for task, (name, classes) in enumerate(known, 1):
        model = response.models.add(name=name, version="1", task=task, ready=True)
        for index, class_name in enumerate(classes):
            model.classes.add(index=index, name=class_name)
    return response


def by_colour(request: Any, _: grpc.ServicerContext) -> Any:
    """A classifier that is right about colours, with certainty .8, but takes green for red."""
    response = messages.ClassifyResponse()
    for image in request.images:
        channel = int(np.argmax(Image.open(io.BytesIO(image.encoded)).convert("RGB").getpixel((5, 5))))
        result = response.results.add()
        order = [0 if channel == 1 else channel]
        order += [index for index in range(3) if index != order[0]]
        for index, probability in zip(order, (0.8, 0.15, 0.05)):
            result.classes.add(index=index, name=list(COLOURS)[index], probability=probability)
    return response


@pytest.fixture
def server(server: FakeServer) -> FakeServer:
    server.models, server.classify = three_models, by_colour
    return server


@pytest.fixture
def clothes(tmp_path: Path) -> Path:
    """Two hats, one pair of shoes, one pair of pants."""
    for number, name in enumerate(("hat", "hat", "shoes", "pants")):
        (tmp_path / "clothes" / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), COLOURS[name]).save(tmp_path / "clothes" / name / f"{number}.png")
    return tmp_path / "clothes"


def test_a_classifier_is_scored_on_a_folder_of_classes(
    server: FakeServer, clothes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = said(server, capsys, "classify", clothes, "--save-dir", tmp_path / "out")
    assert report["scores"]["top1"] == 0.75 and report["scores"]["top5"] == 1
    assert report["scores"]["expected_calibration_error"] == pytest.approx(0.05)
    assert report["confusion"] == [[2, 0, 0], [1, 0, 0], [0, 0, 1]]
    assert report["pictures"] == 4 and report["model"]["name"] == "clothing" and report["failed"] == []
    hat = next(one for one in report["classes"] if one["name"] == "hat")
    assert hat["recall"] == 1 and hat["precision"] == pytest.approx(2 / 3)
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report
    for chart in ("confusion.png", "calibration.png"):
        assert Image.open(tmp_path / "out" / chart).width > 300


def test_the_table_names_classes_and_scores(server: FakeServer, clothes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(server, "classify", clothes) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].split() == ["class", "pictures", "recall", "precision"]
    assert "top1" in printed and "75.0 %" in printed and "4 pictures" in printed


def test_folders_of_other_names_stand_for_the_classes_in_order(clothes: Path) -> None:
    for old, new in (("hat", "n01"), ("pants", "n02"), ("shoes", "n03")):
        (clothes / old).rename(clothes / new)
    pictures = data_sets.class_folders(clothes, list(COLOURS))
    assert [picture.label for picture in pictures] == [0, 0, 1, 2]


def test_a_folder_that_is_no_class_is_an_error_that_names_it(
    server: FakeServer, clothes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (clothes / "scarf").mkdir()
    assert run(server, "classify", clothes) == 2
    message = capsys.readouterr().err
    assert "scarf" in message and "hat, shoes, pants" in message


def test_what_fails_is_named_and_not_scored(server: FakeServer, clothes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (clothes / "hat" / "broken.png").write_bytes(b"no picture")

    def picky(request: Any, context: grpc.ServicerContext) -> Any:
        if request.images[0].encoded == b"no picture":
            refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "the picture is damaged")
        return by_colour(request, context)

    server.classify = picky
    assert run(server, "classify", clothes, "--json") == 1
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert report["pictures"] == 4 and report["scores"]["top1"] == 0.75
    assert [Path(failure["file"]).name for failure in report["failed"]] == ["broken.png"]
    assert "the picture is damaged" in printed.err


def test_no_more_calls_at_a_time_than_asked_for(server: FakeServer, clothes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(20):
        Image.new("RGB", (16, 16), COLOURS["hat"]).save(clothes / "hat" / f"more-{number}.png")
    lock, now, most = threading.Lock(), 0, 0

    def counting(request: Any, context: grpc.ServicerContext) -> Any:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.01)
        with lock:
            now -= 1
        return by_colour(request, context)

    server.classify = counting
    assert said(server, capsys, "classify", clothes, "--concurrency", 3)["pictures"] == 24
    assert 1 <= most <= 3


def test_a_server_that_is_not_there_ends_it(dead_target: str, clothes: Path) -> None:
    assert main(["--server", dead_target, "--deadline", "2", "evaluate", "classify", str(clothes)]) == 3


def test_several_models_of_a_task_have_to_be_told_apart(
    server: FakeServer, clothes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(server, "classify", clothes, "--model", "cells") == 2
    assert "cells (detect)" in capsys.readouterr().err


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Two pictures with what the fake detector finds in every one, but in the second there is only the red one. The data set
    numbers its categories otherwise than the model."""
    for name in ("a.png", "b.png"):
        Image.new("RGB", (30, 20)).save(tmp_path / name)
    red = {"category_id": 7, "bbox": [5, 3, 4, 4], "segmentation": [[5, 3, 9, 3, 9, 7, 5, 7]]}
    white = {"category_id": 3, "bbox": [0, 0, 1, 20], "segmentation": [[0, 0, 1, 0, 1, 20, 0, 20]]}
    notes = [{**red, "image_id": 1}, {**white, "image_id": 1}, {**red, "image_id": 2}]
    truth = {
        "images": [{"id": i, "file_name": name, "width": 30, "height": 20} for i, name in ((1, "a.png"), (2, "b.png"))],
        "categories": [{"id": 7, "name": "red"}, {"id": 3, "name": "white"}, {"id": 1, "name": "never seen"}],
        "annotations": notes,
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    return tmp_path / "truth.json"


def test_a_detector_is_scored_on_a_coco_file(
    server: FakeServer, coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = said(server, capsys, "detect", coco, "--save-dir", tmp_path / "out")
    classes = {one["name"]: one for one in report["classes"]}
    assert set(classes) == {"red", "white"}
    assert classes["red"]["box_AP"] == pytest.approx(1) and classes["red"]["mask_AP"] == pytest.approx(1)
    # Two are found, with equal scores, and the first is right: all that there is, at precision 1.
    assert classes["white"]["box_AP50"] == pytest.approx(1)
    assert report["scores"]["box_AP50"] == pytest.approx(1)
    assert [one["name"] for one in report["classes"]] == ["white", "red"]
    assert report["confusion"] == [[1, 0, 0], [0, 2, 0], [1, 0, 0]]
    for chart in ("confusion.png", "precision-recall-box.png", "precision-recall-mask.png"):
        assert (tmp_path / "out" / chart).is_file()


def test_a_wrong_box_lowers_the_precision(server: FakeServer, coco: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def shifted(request: Any, context: grpc.ServicerContext) -> Any:
        response = find(request, context)
        response.results[0].objects[0].box.x1 += 3  # overlap a quarter
        return response

    server.detect = shifted
    classes = {one["name"]: one for one in said(server, capsys, "detect", coco)["classes"]}
    assert classes["red"]["box_AP50"] == 0 and classes["red"]["mask_AP50"] == pytest.approx(1)


def test_a_detector_that_finds_nothing_scores_nothing(
    server: FakeServer, coco: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def nothing(request: Any, context: grpc.ServicerContext) -> Any:
        response = find(request, context)
        del response.results[0].objects[:]
        return response

    server.detect = nothing
    report = said(server, capsys, "detect", coco)
    assert report["scores"]["box_AP50"] == 0 and report["confusion"] == [[0, 0, 1], [0, 0, 2], [0, 0, 0]]


def test_maps_of_numbered_objects_are_a_data_set(
    server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "maps"
    folder.mkdir()
    Image.new("RGB", (30, 20)).save(folder / "one.jpg")
    values = np.zeros((20, 30), np.uint16)
    values[3:7, 5:9] = 1
    values[:, 0] = 300
    Image.fromarray(values).save(folder / "one.png")
    assert run(server, "detect", folder) == 2
    assert "--class-name" in capsys.readouterr().err
    report = said(server, capsys, "detect", folder, "--class-name", "red")
    assert report["classes"][0]["objects"] == 2
    # One of two is found: precision 1 up to recall one half, 51 of 101 points.
    assert report["scores"]["mask_AP50"] == pytest.approx(51 / 101)


def test_a_file_that_is_not_coco_is_told_so(server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, hint in (("{}", "annotations"), ("no json", "not a COCO file"), ("[1]", "not a COCO file")):
        (tmp_path / "bad.json").write_text(text)
        assert run(server, "detect", tmp_path / "bad.json") == 2
        assert hint in capsys.readouterr().err


def test_missing_pictures_are_named(server: FakeServer, coco: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (coco.parent / "b.png").unlink()
    assert run(server, "detect", coco) == 2
    message = capsys.readouterr().err
    assert "b.png" in message and "--images" in message


def test_data_of_other_classes_is_refused(server: FakeServer, coco: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = coco.read_text().replace('"red"', '"cat"').replace('"white"', '"dog"')
    coco.write_text(text)
    assert run(server, "detect", coco) == 2
    message = capsys.readouterr().err
    assert "red, white" in message and "cat, dog" in message


@pytest.fixture
def streets(tmp_path: Path) -> Path:
    """A picture whose upper half is sky, the lower road but for a column of sky and one of 255, which is no class."""
    folder = tmp_path / "streets"
    folder.mkdir()
    Image.new("RGB", (30, 20)).save(folder / "one.jpg")
    values = np.zeros((20, 30), np.uint8)
    values[10:] = 1
    values[10:, 0] = 0
    values[10:, 1] = 255
    Image.fromarray(values).save(folder / "one.png")
    return folder


def test_a_segmenter_is_scored_on_maps_of_classes(
    server: FakeServer, streets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = said(server, capsys, "segment", streets, "--save-dir", tmp_path / "out")
    assert report["confusion"] == [[300, 10], [0, 280]]
    assert report["scores"]["pixel_accuracy"] == pytest.approx(580 / 590)
    assert report["scores"]["mean_iou"] == pytest.approx((300 / 310 + 280 / 290) / 2)
    assert (tmp_path / "out" / "confusion.png").is_file()


def test_true_pixels_of_an_ignored_class_do_not_count(
    server: FakeServer, streets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = said(server, capsys, "segment", streets, "--ignore", "sky")
    assert [one["name"] for one in report["classes"]] == ["road"] and report["scores"]["pixel_accuracy"] == 1
    assert run(server, "segment", streets, "--ignore", "moon") == 2
    assert "sky, road" in capsys.readouterr().err


def test_a_map_of_another_size_is_an_error(server: FakeServer, streets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("L", (31, 20)).save(streets / "one.png")
    assert run(server, "segment", streets) == 2
    assert "31 x 20" in capsys.readouterr().err


def test_maps_of_16_bits_are_read_like_those_of_8(
    server: FakeServer, streets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = np.asarray(Image.open(streets / "one.png")).astype(np.uint16)
    Image.fromarray(values).save(streets / "one.png")
    assert said(server, capsys, "segment", streets)["confusion"] == [[300, 10], [0, 280]]


def test_confidence_is_binned_up_to_certainty() -> None:
    guesses = [classification.Guess(0, (0,), 1.0), classification.Guess(0, (1,), 1.0), classification.Guess(0, (0,), 0.5)]
    bins = classification.calibration(guesses)
    assert sum(one["count"] for one in bins) == 3
    assert classification.expected_calibration_error(bins) == pytest.approx(2 / 3 * 0.5 + 1 / 3 * 0.5)


def test_each_true_object_is_taken_once_by_the_surest() -> None:
    truth = {
        "images": [{"id": 1}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 10], "iscrowd": 0}],
    }
    box = {"image_id": 1, "bbox": [0, 0, 10, 10]}
    found = [{**box, "category_id": kind, "score": score} for kind, score in ((1, 0.5), (2, 0.9), (1, 0.1))]
    assert detection.confusion(truth, found, [1, 2]).tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 0]]
