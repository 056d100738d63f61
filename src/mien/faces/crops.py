"""Five points of pictures that are themselves face crops, as data sets for expressions distribute them."""

from __future__ import annotations

import numpy as np

from mien.faces.yunet import YuNet

MEAN_POINTS = np.array(
    [[0.3072, 0.3564], [0.6832, 0.3590], [0.4863, 0.5640], [0.3473, 0.7442], [0.6509, 0.7465]], np.float32
)
"""Mean places of YuNet's points in FER2013's training crops, share of the side: used where none is found."""


def landmarks_of_crops(images: np.ndarray, detector: YuNet) -> tuple[np.ndarray, np.ndarray]:
    """The points of the one face that each picture is about.

    The detector sees each picture enlarged twice, on a black margin of a third of its side, because a
    face that fills its picture is often missed. The face nearest the centre wins over a surer one.

    Args:
        images: uint8 (N, S, S) grey or (N, S, S, 3) RGB.
        detector: finds the faces.

    Returns:
        float32 (N, 5, 2) in pixels of the pictures, and bool (N,), false where no face was found and the
        mean places stand in.
    """
    side = images.shape[1]
    margin = side // 3
    points = np.tile(MEAN_POINTS * side, (len(images), 1, 1))
    found = np.zeros(len(images), bool)
    for start in range(0, len(images), 64):
        batch = []
        for image in images[start : start + 64]:
            padded = np.pad(image, ((margin, margin), (margin, margin), *[(0, 0)] * (image.ndim - 2)))
            enlarged = padded.repeat(2, 0).repeat(2, 1)
            batch.append(enlarged if enlarged.ndim == 3 else np.repeat(enlarged[..., None], 3, 2))
        for row, faces in enumerate(detector.detect(batch), start):
            if len(faces):
                centre = faces.box_xyxy_px.reshape(-1, 2, 2).mean(1)
                away = np.abs(centre - batch[0].shape[0] / 2).max(1) / batch[0].shape[0]
                best = np.argmax(faces.detection_score - away)
                points[row], found[row] = faces.landmarks_xy_px[best] / 2 - margin, True
    return points, found
