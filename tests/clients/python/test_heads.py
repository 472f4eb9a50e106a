"""Detection and segmentation: requests, answers, masks, drawings, commands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
import pytest
from fake_server import FakeServer, rle
from PIL import Image
from spatial_mamba_client import (
    Box,
    Client,
    DetectedObject,
    Detection,
    DetectOptions,
    ImageSize,
    ModelIdentity,
    PolygonMask,
    RleMask,
    Tiling,
)
from spatial_mamba_client.cli import main

PICTURE = Image.new("RGB", (30, 20), (40, 40, 40))
MODEL = ModelIdentity("cells", "2", "")


def test_detect_sends_its_options_and_gives_objects(server: FakeServer, client: Client) -> None:
    options = DetectOptions(score_threshold=0.0, max_results=7, class_indices=(1, 3), mask_encoding="coco_rle")
    result = client.detect(PICTURE, "cells", options, version="2")
    request = server.requests[-1]
    assert (request.model.name, request.model.version) == ("cells", "2")
    assert request.HasField("score_threshold") and request.score_threshold == 0
    assert (request.max_results, list(request.class_indices), request.mask_encoding) == (7, [1, 3], 1)
    assert result.image_size == ImageSize(20, 30)
    first = result.objects[0]
    assert (first.name, first.class_index, first.category_id, first.box) == ("red", 0, 10, Box(5, 3, 9, 7))
    expected = numpy.zeros((20, 30), bool)
    expected[3:7, 5:9] = True
    assert first.mask is not None and (first.mask.to_array() == expected).all()


def test_detect_leaves_to_the_model_what_is_not_given(server: FakeServer, client: Client) -> None:
    client.detect(PICTURE)
    request = server.requests[-1]
    assert not request.HasField("score_threshold") and not request.HasField("max_results")
    assert request.mask_encoding == 0


def test_tiling_is_sent_when_it_is_asked_for(server: FakeServer, client: Client) -> None:
    client.detect(PICTURE, options=DetectOptions(tiling=Tiling(512)))
    assert server.requests[-1].tiling.tile_size == 512 and not server.requests[-1].tiling.HasField("overlap")
    client.segment(PICTURE, tiling=Tiling(256, 0))
    assert server.requests[-1].tiling.tile_size == 256 and server.requests[-1].tiling.HasField("overlap")
    client.segment(PICTURE)
    assert not server.requests[-1].HasField("tiling")


def test_the_commands_cut_pictures(server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.png"
    PICTURE.save(file)
    assert main(["--server", server.target, "segment", str(file), "--tile-size", "64", "--tile-overlap", "9"]) == 0
    assert (server.requests[-1].tiling.tile_size, server.requests[-1].tiling.overlap) == (64, 9)
    assert main(["--server", server.target, "detect", str(file), "--tile-overlap", "9"]) == 2
    assert "--tile-size" in capsys.readouterr().err


def test_results_are_what_coco_tools_read(client: Client) -> None:
    entry = client.detect(PICTURE).to_coco(image_id=5)[1]
    assert entry["image_id"] == 5 and entry["category_id"] == 11 and entry["bbox"] == [0, 0, 1, 20]
    assert entry["segmentation"]["size"] == [20, 30]
    assert json.loads(json.dumps(entry)) == entry


def test_run_lengths_are_read_as_they_were_written() -> None:
    random = numpy.random.default_rng(3)
    for _ in range(50):
        mask = random.random((random.integers(1, 40), random.integers(1, 40))) < random.random()
        flat = mask.T.ravel()
        ends = numpy.flatnonzero(numpy.diff(flat)) + 1
        lengths = numpy.diff(numpy.concatenate(([0], ends, [flat.size]))).tolist()
        counts = rle([0, *lengths] if flat[0] else lengths)
        assert (RleMask(*mask.shape, counts).to_array() == mask).all()


@pytest.mark.parametrize("counts", [b"", b"5", b"T", rle([0, 21, 580])])
def test_damaged_run_lengths_are_an_error(counts: bytes) -> None:
    with pytest.raises(ValueError, match="run"):
        RleMask(20, 30, counts).to_array()


def test_polygons_are_filled_each_by_itself() -> None:
    outer = (0.0, 0.0, 6.0, 0.0, 6.0, 6.0, 0.0, 6.0)
    inner = (2.0, 2.0, 4.0, 2.0, 4.0, 4.0, 2.0, 4.0)
    filled = PolygonMask(8, 8, (outer, inner)).to_array()
    assert filled.sum() == 36 and filled[3, 3] and not filled[6, 6]


def test_objects_are_drawn_in_their_places() -> None:
    mask = RleMask(20, 30, rle([103, 4, 16, 4, 16, 4, 16, 4, 433]))
    found = DetectedObject(Box(15, 10, 29, 19), 0.5, 3, "naïve <b>", 3, mask)
    drawn = numpy.asarray(Detection((found,), ImageSize(20, 30), MODEL).draw(PICTURE)).astype(int)
    assert drawn.shape[1] == 320
    scale = 320 / 30
    inside, outside = drawn[round(5 * scale), round(7 * scale)], drawn[round(5 * scale), round(2 * scale)]
    assert abs(inside - 40).max() > 20 and abs(outside - 40).max() == 0


def test_boxes_beyond_the_picture_and_no_objects_are_drawn_too() -> None:
    found = DetectedObject(Box(-50, -50, 500, 500), 1, 0, "x", 0)
    assert Detection((found,), ImageSize(20, 30), MODEL).draw(PICTURE).width == 320
    assert Detection((), ImageSize(20, 30), MODEL).draw(PICTURE, title="none", note="3 ms").width == 320


def test_segment_gives_labels_shares_and_confidence(server: FakeServer, client: Client) -> None:
    result = client.segment(PICTURE, confidence=True)
    assert server.requests[-1].include_confidence
    labels = result.labels()
    assert labels.shape == (20, 30) and (labels[:10] == 0).all() and (labels[10:] == 1).all()
    assert [(share.name, share.pixels) for share in result.classes] == [("sky", 300), ("road", 300)]
    assert result.confidence is not None and result.confidence.values == bytes(range(6))
    assert client.segment(PICTURE).confidence is None


def test_a_label_map_tints_the_picture_by_its_palette(client: Client) -> None:
    drawn = client.segment(PICTURE).draw(PICTURE)
    assert drawn.getpixel((160, 20)) == (25, 30, 120)
    assert drawn.getpixel((160, 200)) == (65, 65, 65)
    assert drawn.height > 320 * 20 // 30  # the legend


def test_the_commands_print_tables_json_and_pictures(
    server: FakeServer, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = str(photos / "hat-1.jpg")
    target = ["--server", server.target]
    assert main([*target, "segment", photo, "--save-dir", str(tmp_path)]) == 0
    assert [line.split()[-3:-1] for line in capsys.readouterr().out.splitlines()[1:2]] == [["50.0", "%"]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hat-1.labels.png", "hat-1.png"]
    arguments = ["--score-threshold", "0.2", "--max-results", "3", "--classes", "0", "1", "--masks", "none"]
    assert main([*target, "detect", photo, *arguments]) == 0
    request = server.requests[-1]
    assert request.score_threshold == pytest.approx(0.2) and list(request.class_indices) == [0, 1]
    assert "90.0 %" in capsys.readouterr().out
    assert main([*target, "detect", photo, "--json"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["objects"][0]["mask"]["counts"] == rle([103, 4, 16, 4, 16, 4, 16, 4, 433]).decode()
    assert line["image_size"] == {"height": 20, "width": 30}
