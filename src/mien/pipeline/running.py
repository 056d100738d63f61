"""The last seconds of a clip's faces as a band that runs below its picture, for overlays."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

LAST_S = 10.0
"""How much of the past the band shows."""
ROWS = 4
LOST_S = 1.0
"""A face that was not seen for so long gives its row to one that waits for it."""
GROUND, INK, SOFT = "#181818", "#e8e8e8", "#787878"
NONE, SURE, UNSURE, POOR = range(4)
"""What a column of a row shows: no face, a certain answer, one that the network doubts, a face that is not reliable."""
Look = tuple[int, str]
"""One of these, and a colour."""


class RunningBand:
    """Up to four faces' last ten seconds, now at the right edge: their most probable expression, each frame by itself.

    A certain answer fills its row; one that the network doubts is hatched in its colour; a face that is not reliable is
    a low grey strip; a face that is not seen leaves its row empty. A frame holds until the next. A face keeps its row
    while it is seen. Memory does not grow: there is one cell for each row and column of pixels.

    Args:
        width_px: of the band.
        text_px: size of its letters.

    Attributes:
        size_wh_px: of the band; the height is even.
    """

    def __init__(self, width_px: int, text_px: int) -> None:
        self.text_px = text_px
        self.row_px = round(text_px * 1.4)
        self.left_px = min(round(text_px * 3.2), width_px // 4)
        self.columns = width_px - self.left_px
        height_px = ROWS * self.row_px + round(text_px * 1.5)
        self.size_wh_px = (width_px, height_px + height_px % 2)
        self._font, self._small = (ImageFont.load_default(size) for size in (text_px, 0.8 * text_px))
        self._states = np.zeros((ROWS, self.columns), np.uint8)
        self._colours = np.zeros((ROWS, self.columns, 3), np.uint8)
        self._ids: list[int | None] = [None] * ROWS
        self._seen_s = [-math.inf] * ROWS
        self._now: list[Look] = [(NONE, GROUND)] * ROWS
        self._column: int | None = None
        self._waiting = 0

    def add(self, looks: Mapping[int, Look], time_s: float) -> None:
        """Take in the next frame: each track that is seen with its look. A time that goes back stands still."""
        column = math.floor(time_s * self.columns / LAST_S)
        if self._column is not None:
            column = max(column, self._column)
            self._run(column - self._column)
        self._column = column
        self._give_rows(looks, time_s)
        for row, number in enumerate(self._ids):
            self._now[row] = (NONE, GROUND) if number is None else looks.get(number, (NONE, GROUND))
            self._fill(row, 1)

    def _fill(self, row: int, columns: int) -> None:
        """The newest columns of a row show what is now."""
        state, colour = self._now[row]
        self._states[row, -columns:], self._colours[row, -columns:] = state, ImageColor.getrgb(colour)

    def _run(self, columns: int) -> None:
        """Move all to the left; what was now goes on until now."""
        columns = min(columns, self.columns)
        if not columns:
            return
        for cells in (self._states, self._colours):
            cells[:, :-columns] = cells[:, columns:].copy()
        for row in range(ROWS):
            self._fill(row, columns)

    def _give_rows(self, looks: Mapping[int, Look], time_s: float) -> None:
        """Rows for faces that have none: empty ones, then those whose face is lost, the longest lost first."""
        for row, number in enumerate(self._ids):
            if number in looks:
                self._seen_s[row] = time_s
            elif not self._states[row].any():
                self._ids[row], self._seen_s[row] = None, -math.inf
        self._waiting = 0
        for number in looks:
            if number in self._ids:
                continue
            row = min(range(ROWS), key=lambda row: self._seen_s[row])
            if time_s - self._seen_s[row] < LOST_S:
                self._waiting += 1
                continue
            self._ids[row], self._seen_s[row] = number, time_s
            self._states[row] = NONE

    def draw(self) -> Image.Image:
        """The band as it is now."""
        picture = Image.new("RGB", self.size_wh_px, GROUND)
        pen = ImageDraw.Draw(picture)
        gap = max(1, self.row_px // 8)
        for row, number in enumerate(self._ids):
            if number is None:
                continue
            top = row * self.row_px + gap
            cells = self._cells(row, self.row_px - 2 * gap)
            picture.paste(Image.fromarray(cells), (self.left_px, top))
            ink = INK if self._now[row][0] != NONE else SOFT
            pen.text((self.text_px * 0.3, top - gap / 2), f"#{number}", fill=ink, font=self._font)
        self._draw_ticks(pen)
        return picture

    def _cells(self, row: int, height_px: int) -> np.ndarray:
        """One row as RGB (height_px, columns, 3). The hatching runs with the time."""
        state, colour = self._states[row], self._colours[row]
        x = np.arange(self.columns) + (self._column or 0)
        period = max(4, height_px // 2)
        stripes = (x - np.arange(height_px)[:, None]) % period < max(1, period // 3)
        low = np.arange(height_px)[:, None] >= 0.65 * height_px
        filled = (state == SURE) | ((state == UNSURE) & stripes) | ((state == POOR) & low)
        cells = np.full((height_px, self.columns, 3), ImageColor.getrgb(GROUND), np.uint8)
        cells[filled] = np.broadcast_to(colour, cells.shape)[filled]
        return cells

    def _draw_ticks(self, pen: ImageDraw.ImageDraw) -> None:
        """A tick for each second of the clip's clock, every fifth one long and with its time."""
        top = ROWS * self.row_px
        width_px = self.size_wh_px[0]
        pen.line((self.left_px, top, width_px, top), SOFT)
        waiting = f"+{self._waiting}" if self._waiting else ""
        pen.text((self.text_px * 0.3, top + 1), waiting, fill=INK, font=self._small)
        if self._column is None:
            return
        a_second = self.columns / LAST_S
        oldest = max(0, math.ceil((self._column + 1 - self.columns) / a_second))
        for second in range(oldest, int(self._column / a_second) + 1):
            x = self.left_px + self.columns - 1 - (self._column - math.floor(second * a_second))
            long = second % 5 == 0
            pen.line((x, top, x, top + self.text_px * (0.5 if long else 0.25)), SOFT)
            text = f"{second // 60}:{second % 60:02}"
            room = pen.textlength(text, font=self._small) + 3
            if long and x + room < width_px:
                pen.text((x + 3, top + self.text_px * 0.2), text, fill=SOFT, font=self._small)
