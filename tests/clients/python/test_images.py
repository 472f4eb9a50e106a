from __future__ import annotations

import io
from pathlib import Path

import numpy
import pytest
from PIL import Image
from spatial_mamba_client import messages
from spatial_mamba_client.images import to_message


def pixel_format(name: str) -> int:
    return messages.PixelFormat[f"PIXEL_FORMAT_{name}"].number


def decoded(message: object) -> Image.Image:
    return Image.open(io.BytesIO(message.encoded))  # type: ignore[attr-defined]


def test_files_are_sent_as_they_are(photos: Path) -> None:
    file = photos / "hat-1.jpg"
    content = file.read_bytes()
    for given in (file, str(file), content, bytearray(content), memoryview(content)):
        assert to_message(given).encoded == content


def test_an_array_is_sent_in_the_channel_order_that_the_caller_states() -> None:
    array = numpy.arange(2 * 3 * 3, dtype=numpy.uint8).reshape(2, 3, 3)
    for order in ("rgb", "bgr"):
        raw = to_message(array, order).raw  # type: ignore[arg-type]
        assert (raw.height, raw.width, raw.format, raw.pixels) == (2, 3, pixel_format(order.upper()), array.tobytes())


def test_a_view_that_is_not_contiguous_is_sent_in_its_own_order() -> None:
    array = numpy.arange(4 * 3 * 3, dtype=numpy.uint8).reshape(4, 3, 3)[::2, ::-1]
    assert to_message(array, "rgb").raw.pixels == numpy.ascontiguousarray(array).tobytes()


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1)])
def test_one_channel_is_grey(shape: tuple[int, ...]) -> None:
    raw = to_message(numpy.zeros(shape, numpy.uint8)).raw
    assert (raw.height, raw.width, raw.format, len(raw.pixels)) == (4, 5, pixel_format("GREY"), 20)


@pytest.mark.parametrize(
    ("array", "order", "said"),
    [
        (numpy.zeros((4, 5, 3), numpy.uint8), None, "channel_order"),
        (numpy.zeros((4, 5, 3), numpy.uint8), "gbr", "channel_order"),
        (numpy.zeros((4, 5, 3), numpy.float32), "rgb", "uint8"),
        (numpy.zeros((4, 5, 4), numpy.uint8), "rgb", r"\[4, 5, 4\]"),
        (numpy.zeros((2, 4, 5, 3), numpy.uint8), "rgb", r"\[2, 4, 5, 3\]"),
    ],
)
def test_an_array_that_could_be_misread_is_refused(array: numpy.ndarray, order: str | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        to_message(array, order)  # type: ignore[arg-type]


@pytest.mark.parametrize(("mode", "sent_as"), [("RGB", "RGB"), ("L", "GREY"), ("RGBA", "RGB"), ("P", "RGB"), ("CMYK", "RGB")])
def test_pil_images_of_every_mode_become_rgb_or_grey(mode: str, sent_as: str) -> None:
    image = Image.new("RGB", (5, 4), (200, 100, 50)).convert(mode)
    raw = to_message(image).raw
    assert (raw.height, raw.width, raw.format) == (4, 5, pixel_format(sent_as))
    assert raw.pixels == image.convert("RGB" if sent_as == "RGB" else "L").tobytes()


def test_a_pil_image_is_turned_by_its_exif_orientation_as_the_server_turns_files() -> None:
    upright = Image.new("RGB", (6, 4))
    upright.paste((255, 0, 0), (0, 0, 1, 1))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    buffer = io.BytesIO()
    upright.save(buffer, "PNG", exif=exif)
    raw = to_message(Image.open(buffer)).raw
    assert (raw.height, raw.width) == (6, 4)
    assert raw.pixels[9:12] == b"\xff\x00\x00"


def test_a_deep_pil_image_keeps_its_16_bits() -> None:
    image = Image.fromarray(numpy.full((4, 5), 40000, numpy.uint16))
    sent = decoded(to_message(image))
    assert sent.format == "PNG"
    assert numpy.asarray(sent).max() == 40000


def test_a_pil_image_too_large_for_a_message_is_sent_without_loss_as_png() -> None:
    image = Image.new("RGB", (4000, 3000), (1, 2, 3))
    message = to_message(image)
    assert len(message.encoded) < 1 << 20
    assert decoded(message).tobytes() == image.tobytes()


def test_a_pil_image_of_floats_is_refused() -> None:
    with pytest.raises(ValueError, match="RGB"):
        to_message(Image.new("F", (4, 4)))


def test_other_types_are_refused_by_name() -> None:
    with pytest.raises(TypeError, match="list"):
        to_message([1, 2, 3])  # type: ignore[arg-type]
