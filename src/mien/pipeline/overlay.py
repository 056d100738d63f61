"""Draw results onto pictures: a box a face, its expression and how sure it is, bars where there is room."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType, TracebackType

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mien.errors import OptionError
from mien.types.faces import Faces
from mien.types.media import FrameResult

COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "neutral": "#c8c8c8",
        "happy": "#f0e442",
        "surprise": "#56b4e9",
        "sad": "#0072b2",
        "angry": "#d55e00",
        "disgust": "#009e73",
        "fear": "#cc79a7",
        "contempt": "#e69f00",
    }
)
"""One colour a class, after Okabe and Ito's palette, which colour-blind people can tell apart."""

UNRELIABLE = "#9a9a9a"
BARS_FROM_PX = 110


def draw(image: np.ndarray, faces: Faces) -> Image.Image:
    """A copy of an image with its faces drawn.

    A solid coloured box: a sure answer. A dashed one with "?": the model is uncertain. A grey dashed one
    with the reason: the face is not good enough to say anything.

    Args:
        image: RGB uint8 (H, W, 3).
        faces: results for that image.
    """
    picture = Image.fromarray(image).convert("RGB")
    pen = ImageDraw.Draw(picture, "RGBA")
    line = max(1, round(max(picture.size) / 500))
    text_px = int(np.clip(max(picture.size) / 55, 11, 44))
    font = ImageFont.load_default(text_px)
    # Large faces last, so that their labels lie over those of small ones behind.
    sides = faces.box_xyxy_px[:, 2] - faces.box_xyxy_px[:, 0] if len(faces) else np.zeros(0)
    for index in np.argsort(sides):
        _draw_face(pen, faces, int(index), line, font, text_px, picture.size)
    return picture


def _draw_face(
    pen: ImageDraw.ImageDraw,
    faces: Faces,
    index: int,
    line: int,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    text_px: int,
    size_wh: tuple[int, int],
) -> None:
    box = tuple(float(side) for side in faces.box_xyxy_px[index])
    reason = faces.quality.reasons[index] if faces.quality is not None else ""
    unsure = bool(faces.uncertain is not None and faces.uncertain[index])
    name = faces.expression.top[index] if faces.expression is not None else "face"
    colour = UNRELIABLE if reason else COLOURS.get(name, "#ffffff")
    outer = (box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1)
    pen.rectangle(outer, outline="#000000", width=1)
    _rectangle(pen, box, colour, line, dashed=unsure or bool(reason))
    text = name
    if faces.expression is not None:
        text = f"{name}{'?' if unsure else ''} {faces.expression.confidence[index]:.0%}"
    if reason:
        text += " - " + reason.split(" (")[0]
    _label(pen, text, (box[0], box[1]), colour, font, text_px, size_wh)
    if faces.expression is not None and box[2] - box[0] >= BARS_FROM_PX and not reason:
        _bars(pen, faces, index, box, text_px)


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


def _label(
    pen: ImageDraw.ImageDraw,
    text: str,
    corner: tuple[float, float],
    colour: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    text_px: int,
    size_wh: tuple[int, int],
) -> None:
    """Dark text on a chip of the class's colour above the box, moved inside the picture."""
    width, height = pen.textlength(text, font=font) + text_px / 2, text_px * 1.3
    x = min(max(0.0, corner[0]), max(0.0, size_wh[0] - width))
    y = corner[1] - height if corner[1] >= height else corner[1]
    dark = colour == COLOURS["sad"]
    pen.rectangle((x, y, x + width, y + height), fill=colour)
    pen.text((x + text_px / 4, y + text_px * 0.05), text, fill="#ffffff" if dark else "#000000", font=font)


def _bars(pen: ImageDraw.ImageDraw, faces: Faces, index: int, box: tuple[float, ...], text_px: int) -> None:
    """The three most probable classes as bars along the lower edge of the box."""
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
        pen.rectangle((box[0], top, box[0] + room * float(values[column]), top + size), fill=COLOURS[name])
        text = f"{name} {values[column]:.2f}"
        pen.text((box[0] + 3, top), text, fill="#ffffff", font=small, stroke_width=1, stroke_fill="#000000")


class OverlayWriter:
    """Writes drawn pictures and clips into a folder: `NAME.png` a picture, `NAME.mp4` a clip.

    Use it as the `observer` of `Analyzer.stream`. A file gets its name when it is whole. Two inputs of
    one name get `NAME.png` and `NAME_2.png`.
    """

    def __init__(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise OptionError(f"expected a folder to draw into, got the file {folder}. Name another.")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._taken: set[str] = set()
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
            target = self._target(result.path, ".png")
            part = target.with_name(target.name + ".part")
            draw(image, result.faces).save(part, "PNG")
            part.replace(target)
            return
        if self._clip is None or self._clip.source != result.path:
            self._end_clip()
            self._clip = _ClipOverlay(result.path, self._target(result.path, ".mp4"), result.size_wh_px)
        self._clip.add(draw(image, result.faces), result.time_s)

    def _target(self, source: str, suffix: str) -> Path:
        stem = Path(source).name.replace(".", "_")
        name, number = stem, 1
        while name in self._taken:
            number += 1
            name = f"{stem}_{number}"
        self._taken.add(name)
        return self.folder / f"{name}{suffix}"

    def _end_clip(self, keep: bool = True) -> None:
        if self._clip is not None:
            self._clip.close(keep)
            self._clip = None


class _ClipOverlay:
    """One drawn clip, H.264 in MP4, with the times of the source's frames; no sound."""

    def __init__(self, source: str, target: Path, size_wh: tuple[int, int]) -> None:
        self.source, self.target = source, target
        self.part = target.with_name(target.name + ".part")
        self.container = av.open(str(self.part), "w", format="mp4")
        self.stream = self.container.add_stream(
            "libx264", rate=30, options={"crf": "23", "preset": "veryfast"}
        )
        self.stream.width, self.stream.height = (max(2, side - side % 2) for side in size_wh)
        self.stream.pix_fmt = "yuv420p"
        self.stream.codec_context.time_base = Fraction(1, 90_000)
        self.last_pts = -1

    def add(self, picture: Image.Image, time_s: float) -> None:
        frame = av.VideoFrame.from_ndarray(
            np.asarray(picture.crop((0, 0, self.stream.width, self.stream.height))), format="rgb24"
        )
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
