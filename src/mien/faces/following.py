"""Find faces in the frames of a clip: the whole picture in every k-th frame, and around the last faces in between.

Around a face the network sees a square of `REGION_PX`, in which the face has half the side: a fourteenth of the pixels of
a whole search at least. Where there are so many faces that it would not pay, whole frames are searched. A face that is not found again where it was, or two that become one, have the whole frame searched at once,
so that what is lost, or a cut, costs time and no face. What is new in the picture is found up to k - 1 frames late:
that is the loss, and the reason why every frame is searched unless one asks for less. `benchmarks/video.py` measures both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mien.errors import OptionError
from mien.faces.yunet import YuNet
from mien.types.faces import Faces

REGION_PX = 128
"""Side of the square that the network sees around a face."""
ROOM = 2.0
"""Side of that square over the longer side of the face's box."""


class Follower:
    """Finds faces in the frames of one clip, given in their order.

    Args:
        detector: searches whole frames, and the squares.
        every: a whole frame is searched after so many; 1 for each.

    Raises:
        OptionError: `every` is under 1.
    """

    def __init__(self, detector: YuNet, every: int = 1) -> None:
        if every < 1:
            raise OptionError(f"expected a whole frame searched every 1 or more, got {every}")
        self.detector, self.every = detector, every
        self._last: Faces | None = None
        self._since = 0

    def detect(self, images: Sequence[np.ndarray]) -> list[Faces]:
        """The faces of the next frames, RGB uint8 (H, W, 3), best score first."""
        if self.every == 1:
            return self.detector.detect(images)
        return [self._next(image) for image in images]

    def _next(self, image: np.ndarray) -> Faces:
        self._since += 1
        found = None
        if self._last is not None and self._since < self.every and self._pays(len(self._last), image):
            found = self._around(image, self._last)
        if found is None:
            (found,) = self.detector.detect([image])
            self._since = 0
        self._last = found
        return found

    def _pays(self, faces: int, image: np.ndarray) -> bool:
        """Whether the squares are less than half the pixels of a whole search."""
        return 2 * faces * REGION_PX**2 < self.detector.pixels(*image.shape[:2])

    def _around(self, image: np.ndarray, last: Faces) -> Faces | None:
        """The same faces a frame later; `None` if one of them is not there or two are one."""
        if not len(last):
            return last
        boxes = last.box_xyxy_px
        sides = ROOM * (boxes[:, 2:] - boxes[:, :2]).max(1)
        corners = (boxes[:, :2] + boxes[:, 2:] - sides[:, None]) / 2
        found = self.detector.search_squares(image, corners, sides, REGION_PX)
        nearest = []
        for faces, corner, side in zip(found, corners, sides, strict=True):
            if not len(faces):
                return None
            middle = faces.box_xyxy_px.reshape(-1, 2, 2).mean(1)
            away = np.linalg.norm(middle - (corner + side / 2), axis=1) / side
            best = [int((faces.detection_score - away).argmax())]
            nearest.append(
                Faces(faces.box_xyxy_px[best], faces.detection_score[best], faces.landmarks_xy_px[best])
            )
        merged = self.detector.merge(nearest)
        return merged if len(merged) == len(last) else None
