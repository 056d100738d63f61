"""An explained face as one picture: the face, where the network looked, the action units, and the words."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mien.errors import LabelError
from mien.explain.explanation import Observation
from mien.explain.placed import SHOWN, coloured
from mien.labels.action_units import unit_label
from mien.pipeline.confidence import percent
from mien.pipeline.explained import ExplainedFace
from mien.pipeline.overlay import colour_of
from mien.transforms.au_cues import unit_map
from mien.types.units import SCALES

PANEL_PX = 420
TEXT_PX = 16
PAGE, INK, SOFT = "#ffffff", "#111111", "#8a8a8a"
MOST_UNITS = 10


def draw_explained(image: np.ndarray, face: ExplainedFace, title: str = "") -> Image.Image:
    """One picture: the face with the places of the units that are seen, the heat map, bars of the units, the words.

    Args:
        image: RGB uint8 (H, W, 3), the whole picture.
        face: of that picture.
        title: a line at the top, such as the file's name.
    """
    left, top, right, bottom = face.region_xyxy_px
    cut = image[top:bottom, left:right]
    panels = [_marked(cut, face)]
    if face.heat is not None:
        panels.append(_heated(cut, face.heat))
    width = PANEL_PX * (len(panels) + 1)
    words = _wrapped(face, width - 2 * TEXT_PX)
    head = round(2 * TEXT_PX)
    page = Image.new(
        "RGB", (width, head + PANEL_PX + TEXT_PX + round(1.4 * TEXT_PX) * (len(words) + 1)), PAGE
    )
    pen = ImageDraw.Draw(page)
    label = face.explanation.label
    pen.rectangle((0, 0, 8, head), fill=colour_of(label))
    probability = face.explanation.probabilities[label]
    unsure = "?" if "uncertain" in face.explanation.flags else ""
    pen.text(
        (16, 6),
        f"{label}{unsure} {percent(probability)}   {title}",
        fill=INK,
        font=ImageFont.load_default(TEXT_PX * 1.2),
    )
    for number, panel in enumerate(panels):
        page.paste(panel, (number * PANEL_PX, head))
    _bars(pen, face, (len(panels) * PANEL_PX, head))
    top_px = head + PANEL_PX + TEXT_PX // 2
    font = ImageFont.load_default(TEXT_PX)
    for line, ink in words:
        pen.text((TEXT_PX, top_px), line, fill=ink, font=font)
        top_px += round(1.4 * TEXT_PX)
    return page


def _marked(cut: np.ndarray, face: ExplainedFace) -> Image.Image:
    """The face with an outline where each unit that is seen shows."""
    scale = PANEL_PX / max(cut.shape[:2])
    picture = _fitted(Image.fromarray(cut), scale)
    points = (face.points_xy_px - np.array(face.region_xyxy_px[:2])) * scale
    names: list[tuple[int, int, str]] = []
    for one in face.explanation.observations:
        try:
            place = unit_map(one.unit, points, (PANEL_PX, PANEL_PX))
        except LabelError:  # a unit without a place of its own
            continue
        if place is None:
            continue
        inside = place > 0
        edge = inside & ~(_shifted(inside, 2) & _shifted(inside, -2))
        picture.paste("#ffd400", mask=Image.fromarray((edge * 255).astype(np.uint8)))
        rows, columns = np.nonzero(inside)
        names.append((int(columns.max()) + 4, int(rows.mean()), unit_label(one.unit)))
    pen, last = ImageDraw.Draw(picture), -PANEL_PX
    for column, row, name in sorted(names, key=lambda item: item[1]):
        last = max(row, last + TEXT_PX)  # one under the other, where several units share a place
        pen.text(
            (min(column, PANEL_PX - 45), last), name, fill="#ffffff", font=ImageFont.load_default(14), anchor="lm",
            stroke_width=2, stroke_fill="#000000",
        )  # fmt: skip
    return picture


def _shifted(mask: np.ndarray, by: int) -> np.ndarray:
    """Both the mask moved down and the mask moved to the right by so many pixels are set."""
    return np.roll(mask, by, 0) & np.roll(mask, by, 1)


def _heated(cut: np.ndarray, heat: np.ndarray) -> Image.Image:
    """The heat map over the face in grey."""
    grey = np.asarray(Image.fromarray(cut).convert("L"), float)[..., None]
    known = ~np.isnan(heat)[..., None]
    mixed = np.where(known, SHOWN * coloured(heat) + (1 - SHOWN) * grey, grey)
    return _fitted(Image.fromarray(np.rint(mixed).astype(np.uint8)), PANEL_PX / max(cut.shape[:2]))


def _fitted(picture: Image.Image, scale: float) -> Image.Image:
    """A picture scaled into a square panel, from its top left corner on."""
    panel = Image.new("RGB", (PANEL_PX, PANEL_PX), PAGE)
    size = tuple(max(1, round(side * scale)) for side in picture.size)
    panel.paste(picture.resize((size[0], size[1]), Image.Resampling.BICUBIC), (0, 0))
    return panel


def _bars(pen: ImageDraw.ImageDraw, face: ExplainedFace, corner: tuple[int, int]) -> None:
    """The units that were measured, plainest first, as bars; left and right as marks where they were told."""
    measured = face.explanation.measured[:MOST_UNITS]
    font = ImageFont.load_default(TEXT_PX * 0.85)
    left, top = corner[0] + TEXT_PX, corner[1] + 4
    if not measured:
        pen.text((left, top), "no action units measured", fill=SOFT, font=font)
        return
    scale = measured[0].scale
    pen.text((left, top), f"action units, {scale} 0 to {SCALES[scale]:g}", fill=SOFT, font=font)
    row = (PANEL_PX - 30) / MOST_UNITS
    for number, one in enumerate(measured):
        _bar(pen, one, (left, top + 24 + number * row), PANEL_PX - 2 * TEXT_PX, font)


def _bar(
    pen: ImageDraw.ImageDraw,
    one: Observation,
    place: tuple[float, float],
    room: float,
    font: Any,
) -> None:
    left, top = place
    ink = INK if one.seen else SOFT
    side = f", {one.side}" if one.side else ""
    pen.text((left, top), f"{unit_label(one.unit)} {one.name}{side}", fill=ink, font=font)
    pen.text((left + room, top), f"{one.value:.1f}", fill=ink, font=font, anchor="ra")
    bar = top + TEXT_PX
    pen.rectangle((left, bar, left + room, bar + 6), fill="#e6e6e6")
    pen.rectangle(
        (left, bar, left + room * one.value / SCALES[one.scale], bar + 6),
        fill="#0072b2" if one.seen else SOFT,
    )


def _wrapped(face: ExplainedFace, room: int) -> list[tuple[str, str]]:
    """The words and the notes in lines that fit, each with its ink."""
    font = ImageFont.load_default(TEXT_PX)
    lines = []
    for text, ink in [
        *((part, INK) for part in face.explanation.text.split("\n")),
        *((note, SOFT) for note in face.notes),
    ]:
        line = ""
        for word in text.split():
            longer = f"{line} {word}".strip()
            if font.getlength(longer) > room and line:
                lines.append((line, ink))
                longer = word
            line = longer
        lines.append((line, ink))
    return lines
