"""A preview as one picture: a row for each crop, before, after and what differs side by side."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from unetmm.version import __version__
from unetmm_cli.display.preview.content import Shown, ShownCrop
from unetmm_cli.display.preview.pictures import Picture, to_png

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

GAP_PX = 12
"""Space around pictures."""
LINE_PX = 18
"""Height of a line of text."""
LEAST_PX = 160
"""Height and width in pixels up to which crops are enlarged by whole numbers."""
LETTER_PX = 7
"""Width of a letter on the average."""
SOFTWARE = f"unetmm preview {__version__}"
"""Text that tells sheets of ours from other PNG."""


def make_sheet(shown: Shown) -> Picture:
    """The picture, colours on white."""
    from PIL import Image

    rows = [_row(crop) for crop in shown.crops()]
    width = max(row.width for row in rows)
    facts = [f"{name}: {text}" for name, text in shown.facts]
    head = _text(facts, width, 10**6)
    sheet = Image.new("RGB", (width, head.height + sum(row.height for row in rows)), "white")
    y = 0
    for part in (head, *rows):
        sheet.paste(part, (0, y))
        y += part.height
    return np.asarray(sheet)


def sheet_png(shown: Shown) -> bytes:
    """The picture as a file."""
    return to_png(make_sheet(shown), Software=SOFTWARE)


def _row(crop: ShownCrop) -> Image.Image:
    """One crop: its title, its pictures and a label below each."""
    from PIL import Image

    pictures = [("before", crop.before)]
    for take in crop.takes:
        pictures += [(f"{take.name}: after", take.after)]
        pictures += [(f"{take.name}: difference", take.difference)]
    tiles = [_enlarged(picture) for _, picture in pictures]
    side = max(LEAST_PX, tiles[0].width)
    labels = [_text([label], side, 2) for label, _ in pictures]
    width = GAP_PX + len(tiles) * (side + GAP_PX)
    lines = [f"{crop.title}. {crop.place}.", f"{crop.stretch} {crop.change}"]
    title = _text(lines, width, 6)
    foot = max(label.height for label in labels)
    row = Image.new("RGB", (width, title.height + tiles[0].height + foot + GAP_PX), "white")
    row.paste(title, (0, 0))
    for i, (tile, label) in enumerate(zip(tiles, labels, strict=True)):
        x = GAP_PX + i * (side + GAP_PX)
        row.paste(tile, (x, title.height))
        row.paste(label, (x - GAP_PX, title.height + tile.height))
    return row


def _enlarged(picture: Picture) -> Image.Image:
    """A picture in colours, small ones by a whole number larger."""
    from PIL import Image

    height, width = picture.shape[:2]
    factor = max(1, LEAST_PX // max(height, width))
    size = (width * factor, height * factor)
    return Image.fromarray(picture).convert("RGB").resize(size, Image.Resampling.NEAREST)


def _text(lines: list[str], width: int, most: int) -> Image.Image:
    """Lines of text, broken where they are longer than the picture is wide."""
    from PIL import Image, ImageDraw

    letters = max(8, (width - 2 * GAP_PX) // LETTER_PX)
    broken = [part for line in lines for part in textwrap.wrap(line, letters) or [""]][:most]
    picture = Image.new("RGB", (width, GAP_PX + LINE_PX * len(broken)), "white")
    draw = ImageDraw.Draw(picture)
    for i, line in enumerate(broken):
        _draw(draw, line, GAP_PX // 2 + i * LINE_PX)
    return picture


def _draw(draw: ImageDraw.ImageDraw, line: str, y: int) -> None:
    """One line; letters that the font lacks become question marks."""
    from PIL import ImageFont

    font = ImageFont.load_default(13)
    if not isinstance(font, ImageFont.FreeTypeFont):
        line = line.encode("latin-1", "replace").decode("latin-1")
    draw.text((GAP_PX, y), line, fill="black", font=font)
