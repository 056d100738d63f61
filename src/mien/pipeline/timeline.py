"""Pictures of a clip over time, as PNG: one of each face's course, and one of all faces. Needs matplotlib (extra `plot`).

What is drawn is what was measured: a frame holds until the next, a column of a long clip is the mean over its time, a
face out of sight leaves a gap, and where there is no certain answer the colours are pale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import ImageColor

from mien.evaluate.canvas import printable, require_matplotlib
from mien.files import made_folder, write_whole
from mien.pipeline.events import OFF, ON
from mien.pipeline.overlay import COLOURS, UNRELIABLE, FreeNames
from mien.pipeline.plot_events import BAR, FACE, LANE, draw_event, in_lanes, put_faces
from mien.pipeline.plot_page import (
    COLUMNS,
    DPI,
    INK,
    LINE,
    SIZE,
    SOFT,
    Key,
    Panel,
    clock,
    colours_of,
    length,
    page,
)
from mien.pipeline.strips import Strip, holds_s, meshed, shares_of, span_s, step_s, stretches, strip_of
from mien.pipeline.thumbnails import Thumbnails, cut_thumbnails
from mien.types.track import Course, Track

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_TRACKS = 12
STRIP = 0.3
"""Inches: height of a track in the picture of all."""
VAGUE, UNSEEN = "no certain answer", "face not reliable"
POOR_HATCH = "\\\\\\"
VISIBLE = 0.03
"""A class that never reaches it is not named below a picture."""
MOST_OUTLINED = 3000
"""Areas of more frames are drawn without lines between them."""
PALE = 0.6
"""How far a pale colour is moved towards white."""
WAYS = "smoothed by a hidden Markov chain"


def shown(course: Course) -> tuple[Track, ...]:
    """The tracks that are drawn: the twelve that were longest in sight, in order of appearance."""
    longest = sorted(course.tracks, key=lambda track: -shares_of(course, track).seen_s)[:MOST_TRACKS]
    return tuple(sorted(longest, key=lambda track: track.id))


def left_out(course: Course) -> str:
    """How many tracks are not drawn and how long they were in sight, `""` where all are."""
    rest = {track.id: track for track in course.tracks}
    for track in shown(course):
        del rest[track.id]
    if not rest:
        return ""
    longest_s = max(shares_of(course, track).seen_s for track in rest.values())
    return f"{len(rest)} more left out, in sight for {length(longest_s)} at most"


def draw_track(course: Course, track: Track, thumbnails: Thumbnails | None = None) -> bytes:
    """One face over time, as PNG: its events, its expressions smoothed and frame by frame, blinks and speech.

    Args:
        course: of the clip.
        track: one of its tracks.
        thumbnails: faces to put at their moments, see `mien.pipeline.thumbnails.cut_thumbnails`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    require_matplotlib()
    strip, colours = strip_of(course, track, COLUMNS), colours_of(track.names)
    panels = [
        *_event_panel(course, track, colours, _faces(track, thumbnails)),
        Panel("smoothed", 1.9, lambda axes: _stack(axes, strip, strip.smoothed, colours, smooth=True)),
        Panel("each frame\nby itself", 0.6, lambda axes: _stack(axes, strip, strip.raw, _pale(colours))),
        *_mesh_panels(course, track),
    ]
    title = f"{printable(Path(course.path).name)}    face #{track.id}"
    if track.baseline is not None:
        title += ", relative to its face at rest"
    seen_s, length_s = shares_of(course, track).seen_s, float(np.diff(span_s(course))[0])
    notes = [f"in sight for {length(seen_s)} of {length(length_s)}, in {len(track)} frames; {WAYS}"]
    if track.baseline_note:
        notes.append(f"baseline: {printable(track.baseline_note)}")
    visible = np.nan_to_num(np.concatenate([strip.smoothed[~strip.poor], strip.raw])).max(0) >= VISIBLE
    keys = [_classes(colours, visible), _states([strip], track)]
    return page(course, title, notes, panels, keys, _foot(course, track))


def draw_summary(course: Course, thumbnails: Thumbnails | None = None) -> bytes:
    """All faces of a clip, as PNG: a row for each, with its most probable smoothed expression as colour.

    Args:
        course: of the clip. Of more than twelve tracks the longest are drawn, and the others counted.
        thumbnails: faces to put at their moments.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    require_matplotlib()
    tracks = shown(course)
    strips = [strip_of(course, track, COLUMNS) for track in tracks]
    colours = colours_of(tracks[0].names if tracks else ())
    panels = [
        _row(course, track, strip, colours, _faces(track, thumbnails))
        for track, strip in zip(tracks, strips, strict=True)
    ]
    rested = [f"#{track.id}" for track in tracks if track.baseline is not None]
    events, faces, rest = sum(1 for _ in course.events()), len(course.tracks), left_out(course)
    notes = [
        f"{clock(span_s(course)[0], 0.1)} to {clock(span_s(course)[1], 0.1)}, {course.frames} frames, "
        f"{faces} face{'' if faces == 1 else 's'}{f' ({rest})' if rest else ''}, "
        f"{events} event{'' if events == 1 else 's'}",
        f"colour: the most probable expression, {WAYS}"
        + (f", of {', '.join(rested)} relative to the face at rest" if rested else ""),
    ]
    if not panels:
        panels, notes = [Panel("", 0.5, lambda axes: _say(axes, "no face was found"))], notes[:1]
    visible = np.zeros(len(colours), bool)
    for strip in strips:
        visible[strip.best[strip.seen & ~strip.poor]] = True
    keys = [_classes(colours, visible), _states(strips)]
    return page(course, printable(Path(course.path).name), notes, panels, keys, _foot(course))


class PlotWriter:
    """Draws courses into a folder: `NAME.png` the clip, `NAME_track0.png` a face. Use it as the `course` of `Analyzer.stream`.

    A file gets its name when it is whole. Two clips of one name get `NAME.png` and `NAME_2.png`.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OptionError: the folder is a file.
    """

    def __init__(self, folder: Path) -> None:
        require_matplotlib()
        self.folder = made_folder(folder, "draw into")
        self._names = FreeNames()

    def __call__(self, course: Course) -> None:
        """Draw one clip."""
        name, thumbnails = self._names.of(course.path), cut_thumbnails(course, shown(course))
        pictures = {f"{name}.png": draw_summary(course, thumbnails)}
        for track in shown(course):
            pictures[f"{name}_track{track.id}.png"] = draw_track(course, track, thumbnails)
        for file, picture in pictures.items():
            write_whole(self.folder / file, picture)


def _faces(track: Track, thumbnails: Thumbnails | None) -> list[tuple[float, np.ndarray]]:
    """A track's thumbnails with their times, in order."""
    own = [(row, cut) for (number, row), cut in (thumbnails or {}).items() if number == track.id]
    return [(float(track.time_s[row]), cut) for row, cut in sorted(own, key=lambda pair: pair[0])]


def _event_panel(
    course: Course, track: Track, colours: Mapping[str, str], faces: list[tuple[float, np.ndarray]]
) -> list[Panel]:
    """The events of a track in lanes, with faces above them; no panel where there is neither."""
    placed = in_lanes(track.events, span_s(course))
    lanes = 1 + max((lane for _, lane, _ in placed), default=-1)
    if not placed and not faces:
        return []

    def draw(axes: Axes) -> None:
        feet = {time_s: 0.0 for time_s, _ in faces}
        for event, lane, label in placed:
            bottom = (lanes - 1 - lane) * LANE + 0.04
            feet |= {event.apex_s: bottom + BAR} if event.apex_s in feet else {}
            draw_event(axes, event, bottom, colours[event.label], label)
        put_faces(axes, faces, lanes * LANE + 0.16, feet)
        axes.set(xlim=span_s(course), ylim=(0, height))

    height = lanes * LANE + (FACE + 0.2 if faces else 0.0)
    return [Panel("events" if placed else "", height, draw)]


def _pale(colours: Mapping[str, str]) -> dict[str, str]:
    """The same colours, moved towards white."""
    return {name: _mixed(colour, PALE) for name, colour in colours.items()}


def _mixed(colour: str, share: float) -> str:
    """A colour with a share of white."""
    return "#" + "".join(
        f"{round(part + share * (255 - part)):02x}" for part in ImageColor.getrgb(colour)[:3]
    )


def _classes(colours: Mapping[str, str], visible: np.ndarray) -> list[Key]:
    """The classes (K,) that can be seen."""
    return [Key(name, colour) for (name, colour), seen in zip(colours.items(), visible, strict=True) if seen]


def _states(strips: Sequence[Strip], track: Track | None = None) -> list[Key]:
    """What else occurs: on the page of a track as hatching and grey over its areas, else as low strips."""
    keys = []
    if any(strip.uncertain.any() for strip in strips):
        low = Key(VAGUE, _mixed(COLOURS["surprise"], PALE), height=0.5)
        keys.append(low if track is None else Key(VAGUE, "#ffffff", "/////", SOFT))
    if any(strip.poor.any() for strip in strips):
        low = Key(UNSEEN, UNRELIABLE, height=0.3)
        keys.append(low if track is None else Key(UNSEEN, UNRELIABLE, POOR_HATCH, "white"))
    if track is not None and track.blink is not None and _unmeshed(track).any():
        keys.append(Key("mesh not read", LINE))
    if any(not strip.seen.all() for strip in strips):
        keys.append(Key("out of sight", "#ffffff", "", LINE))
    return keys


def _foot(course: Course, track: Track | None = None) -> list[str]:
    """How to read the page."""
    column_s = float(np.diff(span_s(course))[0]) / COLUMNS
    text = []
    if track is not None and track.events:
        text.append(
            f"An event: an expression's smoothed probability is {OFF:g} or more, and {ON:g} or more somewhere; triangle: its "
            "apex; pointed end: the face came into sight or was lost meanwhile."
        )
        unnamed = sum(label is None for _, _, label in in_lanes(track.events, span_s(course)))
        if unnamed:
            text.append(
                f"{unnamed} of {len(track.events)} events have no room for their names here; tables have them all."
            )
    if column_s > step_s(course):
        text.append(
            f"Each column of pixels is the mean over {column_s:.2g} s ({column_s / step_s(course):.0f} frames)."
        )
    return text


def _say(axes: Axes, text: str) -> None:
    """A line in the middle of an empty panel."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=SOFT, size=SIZE)


def _stack(
    axes: Axes, strip: Strip, values: np.ndarray, colours: Mapping[str, str], smooth: bool = False
) -> None:
    """Probabilities (B, K) as areas on one another; over them what is uncertain and what is not reliable."""
    top = axes.get_ylim()[1]
    x = np.repeat(strip.edges_s, 2)[1:-1]
    upper = np.repeat(np.cumsum(values, 1), 2, 0) * top
    lower, few = np.zeros(len(x)), strip.frames <= MOST_OUTLINED
    for place, colour in enumerate(colours.values()):
        axes.fill_between(x, lower, upper[:, place], color=colour, linewidth=0)
        if smooth and few:
            axes.plot(x, upper[:, place], color="white", linewidth=0.5)
        lower = upper[:, place]
    if smooth:
        veil = {"facecolor": (1, 1, 1, 0.5), "hatch": "/////", "edgecolor": (0.25, 0.25, 0.25, 0.55)}
        for rows, looks in (
            (strip.uncertain, veil),
            (strip.poor, {"facecolor": UNRELIABLE, "hatch": POOR_HATCH, "edgecolor": "white"}),
        ):
            runs = [(strip.edges_s[a], strip.edges_s[b] - strip.edges_s[a]) for a, b in stretches(rows)]
            axes.broken_barh(runs, (0, top), linewidth=0, zorder=2.5, **looks)
        axes.set_yticks([0, top], ["0", "1"])


def _unmeshed(track: Track) -> np.ndarray:
    """Frames, bool (T,), in which no mesh was read, and so no blink and no speech."""
    return ~meshed(track)


def _mesh_panels(course: Course, track: Track) -> list[Panel]:
    """Blinks as ticks and speech as bands; none without a mesh."""
    if track.blink is None or track.talking is None:
        return []
    since, until = holds_s(course, track)

    def runs(there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """From when to when something is there, not over times out of sight."""
        rows = np.flatnonzero(there)
        breaks = (np.diff(rows) > 1) | (since[rows[1:]] > until[rows[:-1]])
        if not len(rows):
            return since[:0], until[:0]
        return since[rows[np.r_[True, breaks]]], until[rows[np.r_[breaks, True]]]

    def draw(axes: Axes, there: np.ndarray, ticks: bool) -> None:
        top = axes.get_ylim()[1]
        bands = [(_unmeshed(track), LINE), (there, SOFT)]
        for which, colour in bands[: 1 if ticks else 2]:
            starts, ends = runs(which)
            axes.broken_barh(
                list(zip(starts, ends - starts, strict=True)), (0, top), color=colour, linewidth=0
            )
        if ticks:
            axes.vlines(np.mean(runs(there), 0), 0, top, color=INK, linewidth=1)
        if not there.any() and not _unmeshed(track).all():
            _say(axes, "none")

    blink, talking = track.blink, track.talking
    return [
        Panel("blinks", 0.17, lambda axes: draw(axes, blink, ticks=True)),
        Panel("speech", 0.17, lambda axes: draw(axes, talking, ticks=False)),
    ]


def _row(
    course: Course,
    track: Track,
    strip: Strip,
    colours: Mapping[str, str],
    faces: list[tuple[float, np.ndarray]],
) -> Panel:
    """A track in the picture of all: its strip, and faces above it."""
    height = STRIP + (FACE + 0.14 if faces else 0.04)

    def draw(axes: Axes) -> None:
        picture = strip_picture(strip, colours, round(STRIP * DPI))
        axes.imshow(
            picture, extent=(*span_s(course), 0, STRIP), aspect="auto", interpolation="nearest", zorder=2
        )
        put_faces(axes, faces, STRIP + 0.12, dict.fromkeys((time_s for time_s, _ in faces), 0.0))
        axes.set(xlim=span_s(course), ylim=(0, height))

    return Panel(f"#{track.id}\n{length(shares_of(course, track).seen_s)}", height, draw)


def strip_picture(strip: Strip, colours: Mapping[str, str], height_px: int) -> np.ndarray:
    """A strip as RGBA uint8 (height_px, B, 4): the most probable class's colour; low and pale where there is no certain answer,
    low and grey where the face is not reliable; transparent where there is none.
    """
    vivid, pale = (
        np.array([ImageColor.getrgb(colour) for colour in some.values()], np.uint8).reshape(-1, 3)
        for some in (colours, _pale(colours))
    )
    colour = np.where(strip.uncertain[:, None], pale[strip.best], vivid[strip.best])
    colour[strip.poor] = ImageColor.getrgb(UNRELIABLE)
    y = np.arange(height_px)[::-1, None]
    low = strip.uncertain | strip.poor
    filled = strip.seen & (~low | (y < height_px * np.where(strip.poor, 0.3, 0.55)))
    picture = np.zeros((*filled.shape, 4), np.uint8)
    picture[..., :3], picture[..., 3] = colour, 255 * filled
    return picture
