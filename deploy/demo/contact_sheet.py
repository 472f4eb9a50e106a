"""All annotated pictures on one sheet."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont
from spatial_mamba_client.drawing import FAINT_INK, INK, PAPER, TRACK

BACKGROUND = (243, 244, 246)
MARGIN = 40
GAP = 28
HEADING_HEIGHT = 128


def contact_sheet(title: str, subtitle: str, cards: Sequence[Image.Image], columns: int) -> Image.Image:
    """The cards, all of one width, in rows of `columns` below a heading."""
    rows = [cards[start : start + columns] for start in range(0, len(cards), columns)]
    heights = [max(card.height for card in row) for row in rows]
    width = 2 * MARGIN + columns * cards[0].width + (columns - 1) * GAP
    height = HEADING_HEIGHT + sum(heights) + GAP * (len(rows) - 1) + MARGIN
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, 56), title, INK, ImageFont.load_default(38), anchor="lm")
    draw.text((MARGIN, 96), subtitle, FAINT_INK, ImageFont.load_default(20), anchor="lm")
    top = HEADING_HEIGHT
    for row, row_height in zip(rows, heights):
        for column, card in enumerate(row):
            left = MARGIN + column * (card.width + GAP)
            draw.rectangle((left - 1, top - 1, left + card.width, top + row_height), PAPER, TRACK)
            sheet.paste(card, (left, top))
        top += row_height + GAP
    return sheet
