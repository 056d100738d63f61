"""Draw results onto pictures: a box a face, its expression and how sure it is, bars where there is room."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType, TracebackType

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mien.explain.evidence import DISAGREES
from mien.explain.words import SEEN
from mien.faces.mesh_geometry import points_68
from mien.files import made_folder, whole
from mien.pipeline.confidence import decimals, percent
from mien.pipeline.running import POOR, SURE, UNSURE, Look, RunningBand
from mien.types.faces import Faces
from mien.types.media import FrameResult

COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "neutral": "#8ce6d8",
        "happy": "#f0e442",
        "surprise": "#56b4e9",
        "sad": "#0072b2",
        "angry": "#d55e00",
        "disgust": "#009e73",
        "fear": "#cc79a7",
        "contempt": "#e69f00",
    }
)
"""One colour a class, after Okabe and Ito's palette, which colour-blind people can tell apart; aqua in the place of black.
None is grey: that is `UNRELIABLE` alone."""

UNRELIABLE = "#9a9a9a"
Rectangle = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""
BARS_FROM_PX = 110
LONGEST_NAME = 200
"""Bytes of a name, so that what is added to it stays under the 255 that most file systems allow."""


def draw(image: np.ndarray, faces: Faces) -> Image.Image:
    """A copy of an image with its faces drawn.

    In a clip the label begins with # and the track's number. A solid coloured box: a sure answer. A dashed one with "?": the model is uncertain. A grey dashed one
    with the reason: the face is not good enough to say anything. With the mesh, large faces carry its
    68 points and their plainest action units, and the label says where these disagree with the network.

    Args:
        image: RGB uint8 (H, W, 3).
        faces: results for that image.
    """
    picture = Image.fromarray(image).convert("RGB")
    pen = ImageDraw.Draw(picture, "RGBA")
    line = max(1, round(max(picture.size) / 500))
    text_px = _text_px(picture.size)
    # Large faces last, so that their boxes lie over those of small ones behind; labels over all boxes.
    sides = faces.box_xyxy_px[:, 2] - faces.box_xyxy_px[:, 0] if len(faces) else np.zeros(0)
    order = [int(index) for index in np.argsort(sides)]
    for index in order:
        _draw_box(pen, faces, index, line, text_px)
    taken: list[Rectangle] = []
    for index in reversed(order):
        size = int(np.clip(sides[index] / 6, 11, text_px))
        taken.append(_draw_label(pen, faces, index, size, picture.size, taken))
    return picture


def _text_px(size_wh: tuple[int, int]) -> int:
    """Size of letters on a picture."""
    return int(np.clip(max(size_wh) / 55, 11, 44))


def colour_of(name: str) -> str:
    """The colour of a class; white for a class that is not mien's."""
    return COLOURS.get(name, "#ffffff")


def _reason(faces: Faces, index: int) -> str:
    return faces.quality.reasons[index] if faces.quality is not None else ""


def _look(faces: Faces, index: int) -> tuple[str, str, bool]:
    """Class, colour, and whether the model is uncertain."""
    name = faces.expression.top[index] if faces.expression is not None else "face"
    colour = UNRELIABLE if _reason(faces, index) else colour_of(name)
    return name, colour, bool(faces.uncertain is not None and faces.uncertain[index])


def _draw_box(pen: ImageDraw.ImageDraw, faces: Faces, index: int, line: int, text_px: int) -> None:
    left, top, right, bottom = (float(side) for side in faces.box_xyxy_px[index])
    _, colour, unsure = _look(faces, index)
    reason = _reason(faces, index)
    pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline="#000000", width=1)
    _rectangle(pen, (left, top, right, bottom), colour, line, dashed=unsure or bool(reason))
    if right - left < BARS_FROM_PX:
        return
    if faces.mesh is not None and faces.mesh.told[index]:
        for x, y in points_68(faces.mesh)[index]:
            pen.ellipse((x - line, y - line, x + line, y + line), fill=colour)
    if faces.expression is not None and not reason:
        below = _bars(pen, faces, index, (left, top, right, bottom), text_px)
        _units(pen, faces, index, (left, below, right), text_px)


def _rectangle(
    pen: ImageDraw.ImageDraw, box: tuple[float, ...], colour: str, width: int, dashed: bool
) -> None:
    left, top, right, bottom = box
    if not dashed:
        pen.rectangle(box, outline=colour, width=width)
        return
    dash = max(4.0, (right - left) / 12)
    for start in np.arange(0, right - left, 2 * dash):
        end = min(start + dash, right - left)
        for y in (top, bottom):
            pen.line((left + start, y, left + end, y), colour, width)
    for start in np.arange(0, bottom - top, 2 * dash):
        end = min(start + dash, bottom - top)
        for x in (left, right):
            pen.line((x, top + start, x, top + end), colour, width)


def _draw_label(
    pen: ImageDraw.ImageDraw,
    faces: Faces,
    index: int,
    text_px: int,
    size_wh: tuple[int, int],
    taken: list[Rectangle],
) -> Rectangle:
    """Dark text on a chip of the class's colour, where no other label is if there is such a place."""
    name, colour, unsure = _look(faces, index)
    text = name
    if faces.expression is not None:
        text = f"{name}{'?' if unsure else ''} {percent(faces.expression.confidence[index])}"
    if (
        faces.disagreement is not None
        and faces.disagreement[index] >= DISAGREES
        and faces.evidence is not None
    ):
        text += f" (units: {faces.evidence.best(index)})"
    if _reason(faces, index):
        text += " - " + _reason(faces, index).split(" (")[0]
    if faces.track_id is not None:
        text = f"#{faces.track_id[index]} {text}"
    font = ImageFont.load_default(text_px)
    width, height = pen.textlength(text, font=font) + text_px / 2, text_px * 1.3
    chip = _free_place(faces.box_xyxy_px[index], (width, height), size_wh, taken)
    dark = colour == COLOURS["sad"]
    pen.rectangle(chip, fill=colour)
    place = (chip[0] + text_px / 4, chip[1] + text_px * 0.05)
    pen.text(place, text, fill="#ffffff" if dark else "#000000", font=font)
    return chip


def _free_place(
    box: np.ndarray, chip_wh: tuple[float, float], size_wh: tuple[int, int], taken: list[Rectangle]
) -> Rectangle:
    """Above the box, else inside it at the top, else below; moved inside the picture; the least covered."""
    (width, height), (left, top, right, bottom) = chip_wh, (float(side) for side in box)
    places = []
    for y in (top - height, top, bottom, bottom - height):
        for x in (left, right - width):
            x = min(max(0.0, x), max(0.0, size_wh[0] - width))
            if 0 <= y <= size_wh[1] - height:
                places.append((x, y, x + width, y + height))
    places = places or [(left, top, left + width, top + height)]
    return min(places, key=lambda place: sum(_overlap(place, other) for other in taken))


def _overlap(first: Rectangle, second: Rectangle) -> float:
    """Common area of two rectangles."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(0.0, width) * max(0.0, height)


def _bars(pen: ImageDraw.ImageDraw, faces: Faces, index: int, box: tuple[float, ...], text_px: int) -> float:
    """The three most probable classes as bars under the box; gives where they end, pixels."""
    scores = faces.expression
    assert scores is not None
    size = max(10, min(text_px, round((box[2] - box[0]) / 9)))
    small = ImageFont.load_default(size * 0.85)
    values = scores.values[index]
    for row, column in enumerate(np.argsort(-values)[:3]):
        top = box[3] + 4 + row * (size + 3)
        room = box[2] - box[0]
        pen.rectangle((box[0], top, box[2], top + size), fill=(0, 0, 0, 140))
        name = scores.names[column]
        pen.rectangle((box[0], top, box[0] + room * float(values[column]), top + size), fill=colour_of(name))
        text = f"{name} {decimals(values[column])}"
        pen.text((box[0] + 3, top), text, fill="#ffffff", font=small, stroke_width=1, stroke_fill="#000000")
    return box[3] + 4 + 3 * (size + 3)


def _units(
    pen: ImageDraw.ImageDraw, faces: Faces, index: int, place: tuple[float, float, float], text_px: int
) -> None:
    """The plainest action units that are seen, with their intensities, in one line."""
    units = faces.action_units
    if units is None:
        return
    left, top, right = place
    size = max(10, min(text_px, round((right - left) / 9)))
    values = np.nan_to_num(units.values[index])
    seen = [column for column in np.argsort(-values)[:4] if values[column] >= SEEN[units.scale]]
    text = "  ".join(f"AU{units.units[column]} {values[column]:.1f}" for column in seen)
    if text:
        pen.rectangle((left, top, right, top + size), fill=(0, 0, 0, 140))
        small = ImageFont.load_default(size * 0.85)
        pen.text((left + 3, top), text, fill="#ffffff", font=small, stroke_width=1, stroke_fill="#000000")


def _looks(faces: Faces) -> dict[int, Look]:
    """Each track of a frame as the band below a clip shows it."""
    looks = {}
    for index, number in enumerate([] if faces.track_id is None else faces.track_id.tolist()):
        _, colour, unsure = _look(faces, index)
        looks[number] = (POOR if _reason(faces, index) else UNSURE if unsure else SURE, colour)
    return looks


class FreeNames:
    """Gives each input a name of its own for what is made of it."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, source: str) -> str:
        """The input's name, its dot as `_`; with `_2` and so on for further inputs of one name."""
        stem = re.sub(r"[^\w\-]+", "_", Path(source).name).encode()[:LONGEST_NAME].decode(errors="ignore")
        name, number = stem, 1
        while name in self._taken:
            number += 1
            name = f"{stem}_{number}"
        self._taken.add(name)
        return name


class OverlayWriter:
    """Writes drawn pictures and clips into a folder: `NAME.png` a picture, `NAME.mp4` a clip, with the last ten seconds of
    its faces in a band below, see `mien.pipeline.running`.

    Use it as the `observer` of `Analyzer.stream`. A file gets its name when it is whole. Two inputs of
    one name get `NAME.png` and `NAME_2.png`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = made_folder(folder, "draw into")
        self._names = FreeNames()
        self._clip: _ClipOverlay | None = None

    def __enter__(self) -> OverlayWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        keep = kind is None or issubclass(kind, KeyboardInterrupt)
        self._end_clip(keep)

    def __call__(self, result: FrameResult, image: np.ndarray) -> None:
        """Draw one result."""
        if result.time_s is None:
            self._end_clip()
            with whole(self._target(result.path, ".png")) as file:
                draw(image, result.faces).save(file, "PNG")
            return
        if self._clip is None or self._clip.source != result.path:
            self._end_clip()
            self._clip = _ClipOverlay(result.path, self._target(result.path, ".mp4"), result.size_wh_px)
        self._clip.add(draw(image, result.faces), result.faces, result.time_s)

    def _target(self, source: str, suffix: str) -> Path:
        return self.folder / f"{self._names.of(source)}{suffix}"

    def _end_clip(self, keep: bool = True) -> None:
        if self._clip is not None:
            self._clip.close(keep)
            self._clip = None


class _ClipOverlay:
    """One drawn clip with its running band below, H.264 in MP4, with the times of the source's frames; no sound."""

    def __init__(self, source: str, target: Path, size_wh: tuple[int, int]) -> None:
        self.source, self.target = source, target
        self.part = target.with_name(target.name + ".part")
        self.container = av.open(str(self.part), "w", format="mp4")
        self.stream = self.container.add_stream(
            "libx264", rate=30, options={"crf": "23", "preset": "veryfast"}
        )
        width, self.band_from = (max(2, side - side % 2) for side in size_wh)
        self.band = RunningBand(width, _text_px(size_wh))
        self.stream.width, self.stream.height = width, self.band_from + self.band.size_wh_px[1]
        self.stream.pix_fmt = "yuv420p"
        self.stream.codec_context.time_base = Fraction(1, 90_000)
        self.last_pts = -1

    def add(self, picture: Image.Image, faces: Faces, time_s: float) -> None:
        self.band.add(_looks(faces), time_s)
        drawn = picture.crop((0, 0, self.stream.width, self.stream.height))
        drawn.paste(self.band.draw(), (0, self.band_from))
        frame = av.VideoFrame.from_ndarray(np.asarray(drawn), format="rgb24")
        self.last_pts = max(self.last_pts + 1, round(time_s * 90_000))
        frame.pts, frame.time_base = self.last_pts, Fraction(1, 90_000)
        self.container.mux(self.stream.encode(frame))

    def close(self, keep: bool) -> None:
        if not keep:
            self.container.close()
            self.part.unlink(missing_ok=True)
            return
        self.container.mux(self.stream.encode())
        self.container.close()
        self.part.replace(self.target)
