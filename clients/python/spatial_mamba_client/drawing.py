"""Answers drawn on pictures. The only module that needs Pillow at import."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont, ImageOps

if TYPE_CHECKING:
    from spatial_mamba_client.images import ChannelOrder, ImageInput

PAPER = (255, 255, 255)
INK = (17, 24, 39)
FAINT_INK = (107, 114, 128)
TRACK = (229, 231, 235)
BEST = (37, 99, 235)
OTHER = (147, 197, 253)

# Pictures narrower than this are enlarged: below it the text would not be legible.
MIN_WIDTH = 320


def open_image(image: ImageInput, channel_order: ChannelOrder | None = None) -> Image.Image:
    """The picture as RGB, turned by its EXIF orientation."""
    opened: Image.Image
    if isinstance(image, (bytes, bytearray, memoryview)):
        opened = Image.open(io.BytesIO(image))
    elif isinstance(image, (str, os.PathLike)):
        opened = Image.open(Path(image))
    elif isinstance(image, Image.Image):
        opened = image
    else:
        array = image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image
        opened = Image.fromarray(array[:, :, ::-1].copy() if channel_order == "bgr" and array.ndim == 3 else array)
    return ImageOps.exif_transpose(opened).convert("RGB")


def shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    """The text, or its beginning and three dots where it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text.rstrip() + "..."


def with_bars(picture: Image.Image, title: str, note: str, bars: Sequence[tuple[str, float]]) -> Image.Image:
    """`picture` above a panel: title, a faint note at the right, and for each bar its label, length and percentage."""
    if picture.width < MIN_WIDTH:
        height = max(1, round(picture.height * MIN_WIDTH / picture.width))
        picture = picture.resize((MIN_WIDTH, height), Image.Resampling.LANCZOS)
    width = picture.width
    unit = width / 100
    margin, row = 5 * unit, 7 * unit
    heading, text = ImageFont.load_default(7.5 * unit), ImageFont.load_default(4.6 * unit)

    heading_height = 13 * unit
    sheet = Image.new("RGB", (width, round(picture.height + heading_height + row * len(bars) + 3 * unit)), PAPER)
    sheet.paste(picture)
    draw = ImageDraw.Draw(sheet)

    middle = picture.height + heading_height / 2
    note_width = text.getlength(note)
    draw.text((width - margin, middle), note, FAINT_INK, text, anchor="rm")
    draw.text((margin, middle), shortened(title, heading, width - 3 * margin - note_width), INK, heading, anchor="lm")

    label_width, percent_width = 32 * unit, 16 * unit
    left = round(margin + label_width + 2 * unit)
    bar_size = round(width - margin - percent_width) - left, round(3.2 * unit)
    for index, (label, value) in enumerate(bars):
        middle = picture.height + heading_height + (index + 0.5) * row
        draw.text((margin, middle), shortened(label, text, label_width), INK, text, anchor="lm")
        draw.text((width - margin, middle), f"{100 * value:.1f} %", INK, text, anchor="rm")
        sheet.paste(_bar(bar_size, value, BEST if index == 0 else OTHER), (left, round(middle - bar_size[1] / 2)))
    return sheet


def _bar(size: tuple[int, int], value: float, color: tuple[int, int, int]) -> Image.Image:
    """A bar with round ends, filled from the left; drawn large and reduced, so that its edges are smooth."""
    width, height = 4 * size[0], 4 * size[1]
    shape = Image.new("L", (width, height))
    ImageDraw.Draw(shape).rounded_rectangle((0, 0, width - 1, height - 1), height / 2, 255)
    filled = Image.new("RGB", (width, height), TRACK)
    filled.paste(color, (0, 0, round(width * min(max(value, 0.0), 1.0)), height))
    bar = Image.composite(filled, Image.new("RGB", (width, height), PAPER), shape)
    return bar.resize(size, Image.Resampling.LANCZOS)
