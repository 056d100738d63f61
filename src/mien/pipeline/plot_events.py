"""Events and faces on a page: bars in lanes with labels that overlap nothing, and faces over their moments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import ImageColor

from mien.evaluate.canvas import printable
from mien.pipeline.plot_page import INK, ROOM, SOFT, inches
from mien.types.media import LUMA
from mien.types.track import Event

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FACE, BAR, LANE = 0.62, 0.17, 0.29
"""Inches: side of a face, height of an event, and of its lane."""
TIP, GAP, THIN = 0.06, 0.015, 0.01
"""Inches: how far the end of an event that is cut points out, room between events, and the least width of one."""
MOST_LANES = 5
Stretch = tuple[float, float]
"""From when to when, seconds."""


def in_lanes(events: Sequence[Event], span: Stretch) -> list[tuple[Event, int, Stretch | None]]:
    """Each event, by onset, with its lane and the stretch of time that its label takes, `None` where there is no room.

    Labels overlap nothing, and bars do not unless thousands of them are to be drawn. If the lanes suffice, each event has room for its label; else the bars are
    laid as close as they can be, with the labels that fit inside, after or before them.
    """
    inch = (span[1] - span[0]) / ROOM
    bars = [
        (
            event.onset_s - (TIP if event.cut_before else GAP) * inch,
            max(event.offset_s, event.onset_s + THIN * inch) + (TIP if event.cut_after else GAP) * inch,
        )
        for event in events
    ]
    widths = [(inches(printable(event.label)) + 0.08) * inch for event in events]
    inside = [event.duration_s >= width for event, width in zip(events, widths, strict=True)]
    roomy = [
        bar if fits else (bar[0], bar[1] + width)
        for bar, width, fits in zip(bars, widths, inside, strict=True)
    ]
    lanes = _lanes_of(roomy)
    if max(lanes, default=0) >= MOST_LANES:
        lanes = [min(lane, MOST_LANES - 1) for lane in _lanes_of(bars)]
    taken: dict[int, list[Stretch]] = {}
    for bar, lane in zip(bars, lanes, strict=True):
        taken.setdefault(lane, []).append(bar)
    placed = []
    for event, lane, bar, width, fits in zip(events, lanes, bars, widths, inside, strict=True):
        middle = (event.onset_s + event.offset_s) / 2
        label: Stretch | None = (middle - width / 2, middle + width / 2)
        if not fits:
            beside = [(bar[1], bar[1] + width), (bar[0] - width, bar[0])]
            free = [
                wish
                for wish in beside
                if span[0] <= wish[0] and wish[1] <= span[1] and _free(wish, taken[lane])
            ]
            label = free[0] if free else None
            taken[lane] += free[:1]
        placed.append((event, lane, label))
    return placed


def _lanes_of(wishes: Sequence[Stretch]) -> list[int]:
    """For each stretch the first lane in which it overlaps none before it."""
    lanes: list[list[Stretch]] = []
    chosen = []
    for wish in wishes:
        lane = next((lane for lane, taken in enumerate(lanes) if _free(wish, taken[-1:])), len(lanes))
        lanes += [[]] if lane == len(lanes) else []
        lanes[lane].append(wish)
        chosen.append(lane)
    return chosen


def _free(wish: tuple[float, float], taken: Sequence[tuple[float, float]]) -> bool:
    return all(wish[1] <= start or end <= wish[0] for start, end in taken)


def draw_event(axes: Axes, event: Event, bottom: float, colour: str, label: Stretch | None) -> None:
    """A bar from onset to offset, pointed where it is cut, with a triangle over its apex."""
    inch = (axes.get_xlim()[1] - axes.get_xlim()[0]) / ROOM
    top, middle = bottom + BAR, bottom + BAR / 2
    end = max(event.offset_s, event.onset_s + THIN * inch)
    corners = [(event.onset_s, bottom), (event.onset_s, top), (end, top), (end, bottom)]
    if event.cut_after:
        corners.insert(3, (end + TIP * inch, middle))
    if event.cut_before:
        corners.insert(1, (event.onset_s - TIP * inch, middle))
    axes.fill(*zip(*corners, strict=True), color=colour, linewidth=0, zorder=2, clip_on=False)
    if label is not None or end - event.onset_s > TIP * inch:
        axes.plot(event.apex_s, top + 0.03, marker="v", markersize=3.5, color=INK, clip_on=False, zorder=4)
    if label is not None:
        place = (label[0] + label[1]) / 2
        ink = "white" if event.onset_s <= place <= event.offset_s and _is_dark(colour) else INK
        axes.text(
            place, middle - 0.008, printable(event.label), ha="center", va="center", color=ink, zorder=5
        )


def _is_dark(colour: str) -> bool:
    """Whether white letters are better read on it than black ones."""
    return float(np.dot(LUMA, ImageColor.getrgb(colour))) < 110


def put_faces(
    axes: Axes, faces: list[tuple[float, np.ndarray]], bottom: float, feet: Mapping[float, float]
) -> None:
    """Faces side by side, each as near above its time as there is room, with a line down to its foot."""
    start_s, end_s = axes.get_xlim()
    inch = (end_s - start_s) / ROOM
    for middle, (time_s, cut) in zip(
        apart([time_s for time_s, _ in faces], start_s, end_s, (FACE + 0.06) * inch), faces, strict=True
    ):
        box = (middle - FACE / 2 * inch, middle + FACE / 2 * inch, bottom, bottom + FACE)
        axes.plot([middle, time_s], [bottom, feet[time_s]], color=SOFT, linewidth=0.7, zorder=1)
        axes.imshow(cut, extent=box, aspect="auto", interpolation="antialiased", zorder=3)


def apart(wanted: Sequence[float], start: float, end: float, width: float) -> list[float]:
    """Places so near to those that are wanted, in order, that things of a width stand side by side within bounds."""
    places: list[float] = []
    for place in wanted:
        places.append(max(place, start + width / 2, *(before + width for before in places[-1:])))
    limit = end - width / 2
    for index in reversed(range(len(places))):
        places[index] = min(places[index], limit)
        limit = places[index] - width
    return places
