"""Contact sheets and animations of samples: a card for each, with what is known of it above its views."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from eztorch.visualization.views import view_block

_MARGIN, _GAP, _CARD_GAP = 12, 8, 18  # pixels
_TITLE, _CAPTION = 15, 12  # sizes of the letters
_WIDTH = 1900  # of a sheet, where a card is not wider
_SMALLEST = 40  # height of a picture
_INK, _SOFT, _PAPER = "#18181b", "#71717a", "white"


class View(NamedTuple):
    """A view of a sample.

    Attributes:
        pixels: uint8, shape (C, T, H, W), or (C, H, W).
        caption: What is known of it.
    """

    pixels: Tensor
    caption: str


class Card(NamedTuple):
    """A sample.

    Attributes:
        title: Its label.
        note: Where it comes from.
        views: What it gives.
    """

    title: str
    note: str
    views: Sequence[View]


def draw_sheet(cards: Sequence[Card], *, height: int = 112, num_frames: int = 8) -> Image.Image:
    """Draw cards under each other, the frames of a clip side by side; small cards side by side, too.

    Args:
        cards: The samples.
        height: Pixels of the highest view of a sample; its smaller ones keep their proportion to it.
        num_frames: Frames of a clip at most, evenly spread.
    """
    return _stack([_draw_card(card, height, num_frames) for card in cards])


def animate(cards: Sequence[Card], *, height: int = 160, num_frames: int = 32) -> list[Image.Image]:
    """Draw a sheet for each moment of the clips; see `draw_sheet`. A clip that is shorter stays at its last frame."""
    longest = max((_length(view) for card in cards for view in card.views), default=1)
    shown = min(longest, num_frames)
    moments = [round(k * (longest - 1) / max(1, shown - 1)) for k in range(shown)]
    return [draw_sheet([_at(card, moment) for card in cards], height=height) for moment in moments]


def save_sheet(pictures: Sequence[Image.Image], path: Path, *, seconds: float) -> None:
    """Write a sheet, or an animation that lasts some seconds and begins again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *others = pictures
    if path.suffix.lower() != ".gif":
        first.save(path)
        return
    # One palette for all, so that what does not move does not flicker.
    palette = first.quantize(256, Image.Quantize.MEDIANCUT)
    frames = [picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for picture in (first, *others)]
    options: dict[str, Any] = {"save_all": True, "append_images": frames[1:], "loop": 0}
    frames[0].save(path, duration=max(20, round(1000 * seconds / len(frames))), **options)


def _length(view: View) -> int:
    return view.pixels.shape[1] if view.pixels.ndim == 4 else 1


def _at(card: Card, moment: int) -> Card:
    views = [
        view._replace(pixels=view.pixels[:, min(moment, _length(view) - 1)] if view.pixels.ndim == 4 else view.pixels)
        for view in card.views
    ]
    return card._replace(views=views)


def _draw_card(card: Card, height: int, num_frames: int) -> Image.Image:
    scale = height / max((view.pixels.shape[-2] for view in card.views), default=1)
    parts = [_draw_view(view, scale, num_frames) for view in card.views]
    body = _stack(parts, gap=_GAP, margin=0)
    head = 2 * _TITLE + 8
    title = [(card.title, _font(_TITLE, bold=True), _INK), (card.note, _font(_CAPTION), _SOFT)]
    width = max(body.width, *(round(font.getlength(text)) for text, font, _ in title))
    picture = Image.new("RGB", (min(width, _WIDTH), head + body.height), _PAPER)
    draw = ImageDraw.Draw(picture)
    for line, (text, font, colour) in enumerate(title):
        draw.text((0, line * (_TITLE + 3)), text, font=font, fill=colour)
    picture.paste(body, (0, head))
    return picture


def _draw_view(view: View, scale: float, num_frames: int) -> Image.Image:
    height = max(_SMALLEST, round(view.pixels.shape[-2] * scale))
    block = view_block(view.pixels[None], num_frames=num_frames, height=height)[0]
    colours, opacity = (block[:3].permute(1, 2, 0).numpy(), block[3:].permute(1, 2, 0).numpy())
    strip = (255 * (colours * opacity + 1 - opacity)).round().astype(np.uint8)
    font = _font(_CAPTION)
    # A caption that is wider than its view goes on in the next line.
    lines = _wrap(view.caption, font, max(strip.shape[1], 90))
    picture = Image.new("RGB", (max(strip.shape[1], 90), height + len(lines) * (_CAPTION + 4)), _PAPER)
    picture.paste(Image.fromarray(strip), (0, 0))
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        draw.text((0, height + 1 + number * (_CAPTION + 4)), line, font=font, fill=_SOFT)
    return picture


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _stack(pictures: Sequence[Image.Image], *, gap: int = _CARD_GAP, margin: int = _MARGIN) -> Image.Image:
    """Put pictures side by side, and under each other where they would become too wide."""
    places: list[tuple[int, int]] = []
    left = top = bottom = margin
    limit = max([_WIDTH, *(one.width + 2 * margin for one in pictures)])
    for one in pictures:
        if left > margin and left + one.width + margin > limit:
            left, top = margin, bottom + gap
        places.append((left, top))
        left, bottom = left + one.width + gap, max(bottom, top + one.height)
    width = max([1, *(x + one.width for (x, _), one in zip(places, pictures, strict=True))]) + margin
    sheet = Image.new("RGB", (width, max(1, bottom + margin)), _PAPER)
    for place, one in zip(places, pictures, strict=True):
        sheet.paste(one, place)
    return sheet


@cache
def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return the font that matplotlib brings, which has the letters of most languages."""
    return ImageFont.truetype(
        str(Path(get_data_path(), "fonts", "ttf", f"DejaVuSans{'-Bold' if bold else ''}.ttf")), size
    )
