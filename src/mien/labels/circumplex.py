"""Where the eight expressions lie on the circumplex of affect: valence and arousal, each from -1 to 1."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

CIRCUMPLEX: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "neutral": (0.0, 0.0),
        "happy": (0.83, 0.53),
        "surprise": (0.16, 0.89),
        "sad": (-0.65, -0.27),
        "angry": (-0.52, 0.58),
        "disgust": (-0.89, 0.45),
        "fear": (-0.34, 0.64),
        "contempt": (-0.53, -0.07),
    }
)
"""Expression -> (valence, arousal).

Happy, surprise ("astonished"), sad, angry and fear ("afraid"): Russell, "A circumplex model of affect", 1980, figure 4,
as read off by others. Disgust: the angle of 3/20 pi from displeasure on the unit circle of Li et al., PRC-Emo, 2026.
Contempt: Whissell's activation 3.8 and evaluation 2.4 of "contemptuous" on 1 to 7, moved to -1 to 1 (from memory,
as listed by Cowie et al. 2001). Neutral: the origin. The words were rated, not faces.
"""
