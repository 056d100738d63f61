"""Say where a clip cuts from one shot to another, from the frames so far alone."""

from __future__ import annotations

import numpy as np
from PIL import Image

from mien.types.media import LUMA

GRID_WH = (32, 18)


class CutFinder:
    """Compares each frame with the one before, both as small grey pictures with their mean and spread taken out.

    So a flash, a fade or a camera that adapts is no cut, and neither is a person who crosses the picture. What
    decides is 1 - correlation, from 0 (the same) to 2: over `least`, and over `jump` times what has been usual of
    late (a mean that forgets by `memory` a frame, to which one frame adds `most` at most), so that a shaking camera, or
    one frame in some seconds, does not give a cut with every frame.
    """

    least = 0.4
    jump = 4.0
    memory = 0.9
    most = 0.5
    flat = 0.01
    """Spread of brightness, 0 to 1, under which a picture is one tone and correlates with nothing."""

    def __init__(self) -> None:
        self._before: np.ndarray | None = None
        self._usual = 0.0

    def __call__(self, image: np.ndarray) -> bool:
        """Whether RGB uint8 (H, W, 3) begins a new shot; `False` for the first one."""
        now, before = _small(image), self._before
        self._before = now
        if before is None:
            return False
        change = _change(before, now, self.flat)
        found = change > max(self.least, self.jump * self._usual)
        self._usual = self.memory * self._usual + (1 - self.memory) * min(change, self.most)
        return found


def _small(image: np.ndarray) -> np.ndarray:
    """Grey picture of `GRID_WH`, 0 to 1; large pictures are thinned out before they are averaged."""
    step = max(1, min(image.shape[0] // (4 * GRID_WH[1]), image.shape[1] // (4 * GRID_WH[0])))
    thin = Image.fromarray(np.ascontiguousarray(image[::step, ::step]))
    return (
        np.asarray(thin.resize(GRID_WH, Image.Resampling.BOX), np.float32) @ np.array(LUMA, np.float32) / 255
    )


def _change(before: np.ndarray, now: np.ndarray, flat: float) -> float:
    """1 - correlation; for a picture of one tone 1 if the other is none and 0 if it is too."""
    spread = before.std(), now.std()
    if min(spread) < flat:
        return float(max(spread) >= flat)
    common = ((before - before.mean()) * (now - now.mean())).mean()
    return float(1 - common / (spread[0] * spread[1]))
