"""Small records about where a result comes from: frames, failures, preprocessing."""

from __future__ import annotations

from dataclasses import dataclass

from mien.types.faces import Faces

LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in a grey level (ITU-R BT.601)."""
MESH = "mesh"
"""Template of networks whose input are blendshapes of the face mesh, not pixels."""
IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Of red, green and blue on the 0..255 scale, as many networks want them."""


@dataclass(frozen=True)
class Preprocess:
    """How a face is turned into a network's input.

    Attributes:
        size_px: side of the square crop.
        template: name of the five-point alignment template.
        channel_order: "RGB", "BGR", or "GREY" for one channel of luma; "BLENDSHAPES" with the template `MESH`.
        mean, std: per channel, on the 0..255 scale, or per blendshape, in 0..1: input = (value - mean) / std.
        frames: of a clip, T: the middle frame of each of so many equal parts, each aligned by itself; `None`
            for a network that takes single pictures.
    """

    size_px: int
    template: str
    channel_order: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    frames: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input without its batch: (C, S, S), (C, T, S, S) of a clip; blendshapes (52,) or (T, 52)."""
        clip = () if self.frames is None else (self.frames,)
        if self.of_mesh:
            return (*clip, len(self.mean))
        return (len(self.mean), *clip, self.size_px, self.size_px)

    @property
    def of_mesh(self) -> bool:
        """The input are blendshapes of the face mesh."""
        return self.template == MESH


@dataclass(frozen=True)
class Failure:
    """A file that could not be analysed. `error` says what was expected, what was found and what to do."""

    path: str
    error: str
    kind: str = "InputError"


@dataclass(frozen=True, eq=False)
class FrameResult:
    """What was found in one picture or in one frame of a clip.

    Attributes:
        path: the file, or the address of a live source.
        frame: index of the decoded frame, from 0; 0 for a picture.
        time_s: presentation time in seconds, of a live source from its first frame on; `None` for a picture.
        faces: the faces; of length 0 where there is none.
        size_wh_px: width and height of the upright image.
        dropped: of a live source the frames left out since the result before, to keep up; `None` for files.
    """

    path: str
    frame: int
    time_s: float | None
    faces: Faces
    size_wh_px: tuple[int, int]
    dropped: int | None = None
