"""Small records about where a result comes from: frames, failures, preprocessing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mien.types.faces import Faces

LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in a grey level (ITU-R BT.601)."""
MESH = "mesh"
"""Template of networks whose input are blendshapes of the face mesh, not pixels."""
IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Of red, green and blue on the 0..255 scale, as many networks want them."""

SIDEWAYS: Mapping[str, tuple[int, ...]] = MappingProxyType({"UVS": (0,), "MOTION10": tuple(range(0, 50, 5))})
"""Channel order of a motion picture -> its channels of sideways motion, whose sign a mirror turns.

"UVS": u, v and optical strain (`mien.transforms.flow`). "MOTION10": ten steps in turn of u, v, strain, the change since
onset and the change since the step before.
"""


@dataclass(frozen=True)
class Preprocess:
    """How a face is turned into a network's input.

    Attributes:
        size_px: side of the square crop.
        template: name of the five-point alignment template; `MESH`; "none" for motion pictures, which lie ready.
        channel_order: "RGB", "BGR", or "GREY" for one channel of luma; with `MESH` "BLENDSHAPES"; with "none" one of
            `SIDEWAYS`.
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
        """Whether the input is blendshapes of the face mesh, not pixels."""
        return self.template == MESH

    @property
    def of_motion(self) -> bool:
        """Whether the input is a motion picture, not a face."""
        return self.channel_order in SIDEWAYS


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
