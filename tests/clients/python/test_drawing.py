from __future__ import annotations

from pathlib import Path

import numpy
import pytest
from PIL import Image, ImageFont
from spatial_mamba_client import Classification, ClassScore, ImageSize, ModelIdentity, drawing

FONT = ImageFont.load_default(20)


def classification(*probabilities: float) -> Classification:
    scores = tuple(ClassScore(index, f"class {index}", value) for index, value in enumerate(probabilities))
    return Classification(scores, ImageSize(8, 8), ModelIdentity("m", "1", ""))


def blue_pixels(sheet: Image.Image, color: tuple[int, int, int]) -> int:
    return int((numpy.asarray(sheet) == color).all(axis=2).sum())


def test_the_picture_stays_as_it_is_above_the_panel() -> None:
    picture = Image.effect_noise((400, 300), 80).convert("RGB")
    sheet = classification(0.9, 0.1).draw(picture)
    assert sheet.width == 400
    assert sheet.height > 300
    assert sheet.crop((0, 0, 400, 300)).tobytes() == picture.tobytes()


def test_a_small_picture_is_enlarged_until_the_text_is_legible(photos: Path) -> None:
    sheet = classification(0.9).draw(Image.new("RGB", (16, 8)))
    assert sheet.width == drawing.MIN_WIDTH


def test_the_length_of_a_bar_is_the_probability() -> None:
    picture = Image.new("RGB", (1000, 10), "white")
    whole, half, none = (blue_pixels(classification(value).draw(picture), drawing.BEST) for value in (1.0, 0.5, 0.0))
    assert half == pytest.approx(whole / 2, rel=0.05)
    assert none == 0


def test_every_class_has_a_bar() -> None:
    picture = Image.new("RGB", (400, 10), "white")
    assert classification(0.5, 0.3, 0.2).draw(picture).height > classification(0.5, 0.3).draw(picture).height
    assert blue_pixels(classification(0.5, 0.3).draw(picture), drawing.OTHER) > 0


def test_paths_bytes_and_arrays_are_drawn_alike(photos: Path) -> None:
    file = photos / "hat-1.jpg"
    result = classification(0.7)
    expected = result.draw(file).tobytes()
    rgb = numpy.asarray(Image.open(file).convert("RGB"))
    assert result.draw(file.read_bytes()).tobytes() == expected
    assert result.draw(rgb, channel_order="rgb").tobytes() == expected
    assert result.draw(rgb[:, :, ::-1], channel_order="bgr").tobytes() == expected


def test_long_names_are_shortened_to_the_room_there_is() -> None:
    name = "black-footed ferret, ferret, Mustela nigripes"
    cut = drawing.shortened(name, FONT, 120)
    assert cut.endswith("...")
    assert name.startswith(cut[:-3])
    assert FONT.getlength(cut) <= 120
    assert drawing.shortened("hat", FONT, 120) == "hat"
