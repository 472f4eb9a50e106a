"""Answers drawn on pictures. The only module that needs Pillow at import."""

from __future__ import annotations

import colorsys
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont, ImageOps

if TYPE_CHECKING:
    import numpy

    from spatial_mamba_client.images import ChannelOrder, ImageInput
    from spatial_mamba_client.results import ClassShare, DetectedObject

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


# More objects than these are not labelled one by one but counted below the picture.
MAX_TAGS = 12


def _enlarged(picture: Image.Image, min_width: int = MIN_WIDTH) -> Image.Image:
    if picture.width >= min_width:
        return picture
    height = max(1, round(picture.height * min_width / picture.width))
    return picture.resize((min_width, height), Image.Resampling.LANCZOS)


def class_color(index: int) -> tuple[int, int, int]:
    """A bright colour; those of neighbouring classes differ much."""
    hue = (index * 0.618033988749895 + 0.58) % 1.0
    red, green, blue = colorsys.hls_to_rgb(hue, 0.52, 0.85)
    return round(255 * red), round(255 * green), round(255 * blue)


def with_objects(
    picture: Image.Image, objects: Sequence[DetectedObject], title: str = "", note: str = "", min_width: int = MIN_WIDTH
) -> Image.Image:
    """`picture` with a box and a see-through mask for each object, the best on top. Few objects have a label each; of many
    there is a legend that counts them, and where they are of one class and have masks, each has a colour of its own."""
    original = picture.size
    picture = _enlarged(picture, min_width)
    scale = (picture.width / original[0], picture.height / original[1])
    crowded = len(objects) > MAX_TAGS
    single = crowded and len({found.class_index for found in objects}) == 1 and objects[0].mask is not None
    colors = [class_color(index if single else found.class_index) for index, found in enumerate(objects)]
    line = 1 if single else max(2, round(min(picture.size) / 250))
    font = ImageFont.load_default(max(11.0, min(picture.size) / 36))
    for found, color in reversed(list(zip(objects, colors))):
        if found.mask is not None:
            picture = _tinted(picture, found.mask.to_array(), color)
    draw = ImageDraw.Draw(picture)
    for found, color in reversed(list(zip(objects, colors))):
        x1, x2 = (min(max(x * scale[0], 0), picture.width - 1) for x in (found.box.x1, found.box.x2))
        y1, y2 = (min(max(y * scale[1], 0), picture.height - 1) for y in (found.box.y1, found.box.y2))
        draw.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=color, width=line)
        if not crowded:
            _tag(draw, (x1, y1), f"{found.name} {100 * found.score:.0f} %", color, font, picture.size)
    if crowded:
        counted: dict[int, list[DetectedObject]] = {}
        for found in objects:
            counted.setdefault(found.class_index, []).append(found)
        largest = sorted(counted.items(), key=lambda entry: (-len(entry[1]), entry[0]))
        picture = _with_legend(picture, [(own[0].name, str(len(own)), class_color(index)) for index, own in largest])
    return _with_caption(picture, title, note)


def with_labels(
    picture: Image.Image,
    label_map: bytes,
    classes: Sequence[ClassShare],
    title: str = "",
    note: str = "",
    min_width: int = MIN_WIDTH,
) -> Image.Image:
    """`picture` tinted by the colours of its label map, above a legend of the classes that occur."""
    labels = Image.open(io.BytesIO(label_map))
    palette = labels.getpalette() if labels.mode == "P" else None
    if palette is None:  # 16 bits a pixel, without colours
        import numpy

        indices = numpy.asarray(labels)
        colors = numpy.zeros((int(indices.max(initial=0)) + 1, 3), numpy.uint8)
        for share in classes:
            colors[share.index] = class_color(share.index)
        tint = Image.fromarray(colors[indices])
    else:
        tint = labels.convert("RGB")
    picture = _enlarged(picture, min_width)
    tint = tint.resize(picture.size, Image.Resampling.NEAREST)
    drawn = Image.blend(picture, tint, 0.5)
    total = max(1, sum(share.pixels for share in classes))
    entries: list[tuple[str, str, Any]] = []
    legible = [share for share in classes if 1000 * share.pixels >= total]
    for share in sorted(legible, key=lambda one: (-one.pixels, one.index)):
        color = tuple(palette[3 * share.index : 3 * share.index + 3]) if palette else class_color(share.index)
        percent = 100 * share.pixels / total
        entries.append((share.name, f"{percent:.1f} %", color))
    if len(legible) < len(classes):
        entries.append((f"{len(classes) - len(legible)} more", "< 0.1 %", PAPER))
    return _with_caption(_with_legend(drawn, entries), title, note)


def _tinted(picture: Image.Image, mask: numpy.ndarray[Any, Any], color: tuple[int, int, int]) -> Image.Image:
    opacity = Image.fromarray(mask.astype("uint8") * 110).resize(picture.size, Image.Resampling.BILINEAR)
    return Image.composite(Image.new("RGB", picture.size, color), picture, opacity)


def _tag(
    draw: ImageDraw.ImageDraw,
    corner: tuple[float, float],
    text: str,
    color: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: tuple[int, int],
) -> None:
    """A filled label above the corner of a box, or inside where there is no room."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font)
    width, height = right - left + 8, bottom - top + 6
    x = max(0.0, min(corner[0], size[0] - width))
    y = corner[1] - height if corner[1] >= height else corner[1]
    draw.rectangle((x, y, x + width, y + height), fill=color)
    bright = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 150
    draw.text((x + 4 - left, y + 3 - top), text, INK if bright else PAPER, font)


def _with_legend(picture: Image.Image, entries: Sequence[tuple[str, str, Any]]) -> Image.Image:
    """Below the picture a name, a number and a colour for each entry, in columns."""
    unit = picture.width / 100
    font = ImageFont.load_default(max(10.0, 2.8 * unit))
    row = round(1.7 * font.size)
    columns = max(1, min(3, int(picture.width / (16 * font.size))))
    rows = -(-len(entries) // columns)
    sheet = Image.new("RGB", (picture.width, picture.height + rows * row + round(2 * unit)), PAPER)
    sheet.paste(picture)
    draw = ImageDraw.Draw(sheet)
    each = picture.width / columns
    for index, (name, number, color) in enumerate(entries):
        x = index % columns * each + 2 * unit
        middle = picture.height + unit + (index // columns + 0.5) * row
        side = 0.5 * font.size
        draw.rectangle((x, middle - side, x + 2 * side, middle + side), fill=color, outline=FAINT_INK)
        x += 2 * side + unit
        room = each - 2 * side - 5 * unit - font.getlength(number)
        draw.text((x, middle), shortened(name, font, room), INK, font, anchor="lm")
        draw.text(((index % columns + 1) * each - 2 * unit, middle), number, FAINT_INK, font, anchor="rm")
    return sheet


def _with_caption(picture: Image.Image, title: str, note: str) -> Image.Image:
    if not title and not note:
        return picture
    unit = picture.width / 100
    heading, text = ImageFont.load_default(max(12.0, 4 * unit)), ImageFont.load_default(max(10.0, 2.8 * unit))
    height = round(2 * heading.size)
    sheet = Image.new("RGB", (picture.width, picture.height + height), PAPER)
    sheet.paste(picture)
    draw = ImageDraw.Draw(sheet)
    middle = picture.height + height / 2
    draw.text((picture.width - 2 * unit, middle), note, FAINT_INK, text, anchor="rm")
    room = picture.width - 6 * unit - text.getlength(note)
    draw.text((2 * unit, middle), shortened(title, heading, room), INK, heading, anchor="lm")
    return sheet


def shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    """The text, or its beginning and three dots where it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text.rstrip() + "..."


def with_bars(picture: Image.Image, title: str, note: str, bars: Sequence[tuple[str, float]]) -> Image.Image:
    """`picture` above a panel: title, a faint note at the right, and for each bar its label, length and percentage."""
    picture = _enlarged(picture)
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
