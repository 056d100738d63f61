"""Five points of pictures that are themselves face crops, as data sets for expressions distribute them."""

from __future__ import annotations

import contextlib
import hashlib
import zipfile
from collections.abc import Sequence

import numpy as np
from PIL import Image
from tqdm import tqdm

from mien.faces.yunet import YuNet
from mien.files import whole
from mien.types.faces import Faces
from mien.weights.fetch import home
from mien.weights.store import load_weights

CROP_DETECTION_THRESHOLD = 0.4
"""Crops of faces are small and tight, so the detector may be less sure of them."""

LARGE_CROP_PX = 320
"""Crops of twice as many pixels and more are searched smaller: the search enlarges and pads what it is given."""

MEAN_POINTS = np.array(
    [[0.3072, 0.3564], [0.6832, 0.3590], [0.4863, 0.5640], [0.3473, 0.7442], [0.6509, 0.7465]], np.float32
)
"""Mean places of YuNet's points in FER2013's training crops, share of the side: used where none is found."""


def faces_of_crops(images: np.ndarray, detector: YuNet) -> list[Faces]:
    """The one face that each picture is about, of length 0 where none is found; pixels of the pictures.

    The detector sees each picture enlarged twice, on a black margin of a third of its side, because a
    face that fills its picture is often missed. The face nearest the centre wins over a surer one.

    Args:
        images: uint8 (N, S, S) grey or (N, S, S, 3) RGB.
        detector: finds the faces.
    """
    side = images.shape[1]
    margin = side // 3
    found = []
    for start in range(0, len(images), 64):
        batch = []
        for image in images[start : start + 64]:
            padded = np.pad(image, ((margin, margin), (margin, margin), *[(0, 0)] * (image.ndim - 2)))
            enlarged = padded.repeat(2, 0).repeat(2, 1)
            batch.append(enlarged if enlarged.ndim == 3 else np.repeat(enlarged[..., None], 3, 2))
        for faces in detector.detect(batch):
            if not len(faces):
                found.append(faces)
                continue
            centre = faces.box_xyxy_px.reshape(-1, 2, 2).mean(1)
            away = np.abs(centre - batch[0].shape[0] / 2).max(1) / batch[0].shape[0]
            best = [np.argmax(faces.detection_score - away)]
            boxes, points = faces.box_xyxy_px[best] / 2 - margin, faces.landmarks_xy_px[best] / 2 - margin
            found.append(Faces(boxes, faces.detection_score[best], points))
    return found


def landmarks_of_crops(images: np.ndarray, detector: YuNet) -> tuple[np.ndarray, np.ndarray]:
    """The points of the one face that each picture is about; see `faces_of_crops`.

    Returns:
        float32 (N, 5, 2) in pixels of the pictures, and bool (N,), false where no face was found and the
        mean places stand in.
    """
    points = np.tile(MEAN_POINTS * images.shape[1], (len(images), 1, 1))
    found = np.zeros(len(images), bool)
    for row, faces in enumerate(faces_of_crops(images, detector)):
        if len(faces):
            points[row], found[row] = faces.landmarks_xy_px[0], True
    return points, found


def crop_detector(threads: int = 0) -> YuNet:
    """The detector for pictures that are themselves face crops."""
    return YuNet(load_weights("yunet"), threads, score_threshold=CROP_DETECTION_THRESHOLD)


def remembered_landmarks(
    stack: np.ndarray, detector: YuNet, quiet: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """`landmarks_of_crops`, remembered on disk: they depend on pixels and detector only, and take minutes."""
    key = hashlib.sha256(np.ascontiguousarray(stack).tobytes() + load_weights("yunet").sha256.encode())
    folder = home() / "points"
    path = folder / f"{key.hexdigest()[:32]}.npz"
    with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile), np.load(path) as stored:
        return stored["points"], stored["found"]
    parts = [
        landmarks_of_crops(stack[start : start + 512], detector)
        for start in tqdm(range(0, len(stack), 512), "finding faces", disable=quiet, unit="x512", leave=False)
    ]
    points, found = (np.concatenate(part) for part in zip(*parts, strict=True))
    with contextlib.suppress(OSError):  # a cache that cannot be written only costs time
        folder.mkdir(parents=True, exist_ok=True)
        with whole(path) as file:
            np.savez(file, points=points, found=found)
    return points, found


def face_of(image: np.ndarray, framing: str, detector: YuNet) -> Faces:
    """The one face that an RGB picture is about, of length 0 where none is found.

    In a "photo" that is the largest face, in a "crop" the one nearest the centre; a crop of `LARGE_CROP_PX` twice or
    more is searched at a half, a third and so on of its size.
    """
    if framing == "photo":
        faces = detector.detect([image])[0]
        if not len(faces):
            return faces
        box = faces.box_xyxy_px
        best = [np.argmax((box[:, 2:] - box[:, :2]).prod(1))]
        return Faces(box[best], faces.detection_score[best], faces.landmarks_xy_px[best])
    height, width = image.shape[:2]
    factor = max(1, max(height, width) // LARGE_CROP_PX)
    small = np.asarray(Image.fromarray(image).reduce(factor))
    square = np.zeros((max(small.shape), max(small.shape), 3), np.uint8)
    square[: small.shape[0], : small.shape[1]] = small
    faces = faces_of_crops(square[None], detector)[0]
    return Faces(faces.box_xyxy_px * factor, faces.detection_score, faces.landmarks_xy_px * factor)


def points_of(image: np.ndarray, framing: str, detector: YuNet) -> tuple[np.ndarray, bool]:
    """Five points (5, 2) of the face that a picture is about, and whether it was found.

    Where none is found, the mean places stand in. See `face_of`.
    """
    faces = face_of(image, framing, detector)
    if len(faces):
        return faces.landmarks_xy_px[0], True
    return MEAN_POINTS * [image.shape[1], image.shape[0]], False


def points_of_clip(
    frames: Sequence[np.ndarray], framing: str, detector: YuNet
) -> tuple[np.ndarray, np.ndarray]:
    """Five points (T, 5, 2) in each RGB frame of a clip, and where they were found, bool (T,).

    Every frame is searched by itself (`points_of`). One without a face takes the points of the nearest frame
    that has one, the earlier of two.
    """
    pairs = [points_of(frame, framing, detector) for frame in frames]
    points, seen = np.stack([five for five, _ in pairs]), np.array([was_seen for _, was_seen in pairs])
    there = np.flatnonzero(seen)
    if len(there):
        points = points[there[np.abs(there - np.arange(len(frames))[:, None]).argmin(1)]]
    return points, seen


def landmarks_of_pictures(
    images: Sequence[np.ndarray], framing: str, detector: YuNet, quiet: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Five points (N, 5, 2) of the face that each picture is about, and where it was found, bool (N,).

    Crops of one small size go to the detector together and are remembered; others one by one.
    """
    if framing == "crop" and one_small_size(images):
        return remembered_landmarks(np.stack(images), detector, quiet)
    pairs = [points_of(as_rgb(image), framing, detector) for image in images]
    return np.stack([points for points, _ in pairs]), np.array([seen for _, seen in pairs])


def one_small_size(images: Sequence[np.ndarray]) -> bool:
    """Whether all pictures have one square shape of at most 160 px, as data sets of crops distribute them."""
    (height, width, *_), *others = {image.shape for image in images}
    return not others and height == width <= 160


def as_rgb(image: np.ndarray) -> np.ndarray:
    """RGB (H, W, 3) of a grey (H, W) or RGB picture."""
    return np.repeat(image[..., None], 3, 2) if image.ndim == 2 else image
