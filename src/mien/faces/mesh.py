"""The face landmarker: 478 points, 52 blendshapes and head pose of faces that a detector found.

Source of the networks: MediaPipe Face Landmarker (face_landmarker.task, float16, version 1), Google, Apache-2.0.
    Points: Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs", 2019; irises:
    Ablavatski et al., "Real-time Pupil Tracking from Monocular Video", 2020; blendshapes: Grishchenko et al.,
    "Blendshapes GHUM: Real-time Monocular Facial Blendshape Prediction", 2023 (titles from memory).
Facts taken from MediaPipe's graphs (tasks/cc/vision/face_landmarker): pixels / 255 in, points in pixels of the
    256 px crop out, crop = the points' square times 1.5 turned by the eyes, the 146 points of the blendshape net.
Differs: our detector's five points place the first crop (the .task's own detector misses small faces), a second
    pass re-centres it, and the blendshape net is given points with the head's lean taken out.

Needs: `ai-edge-litert` (extra `mesh`) and the fetched file (`mien weights fetch face_landmarker`).
"""

from __future__ import annotations

import contextlib
import io
import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from mien.errors import MissingExtraError, OptionError, ShapeError, WeightsError
from mien.faces.crops import as_rgb, points_of_clip
from mien.faces.mesh_geometry import LEFT_EYE_OUTER, RIGHT_EYE_OUTER, HeadModel, read_head_model
from mien.faces.yunet import YuNet
from mien.transforms.align import fit_similarity, inverted
from mien.types.mesh import BLENDSHAPES, MESH_POINTS, Mesh, joined
from mien.weights.fetch import fetched_bytes

CROP_PX = 256
ROOM = 1.5
"""Side of the crop over the longer side of the points' bounding square."""
FIRST_CROP = np.array([[0.373, 0.375], [0.627, 0.375], [0.5, 0.528], [0.39, 0.638], [0.61, 0.638]])
"""Where YuNet's five points lie in the final crop, share of its side: mean over 32 faces of HELEN's train part,
made symmetric."""

BLENDSHAPE_POINTS = np.array(
    [0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78,
     80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152,
     153, 154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246,
     249, 251, 263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312,
     314, 317, 318, 321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381,
     382, 384, 385, 386, 387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466,
     *range(468, 478)]
)  # fmt: skip
"""The 146 points that the blendshape net wants, in its order (MediaPipe, face_blendshapes_graph.cc)."""


@dataclass(frozen=True)
class MeshLimits:
    """Beyond these a face is not read.

    Attributes:
        min_crop_px: side of the crop in pixels of the picture, roughly twice the face.
        min_presence: the network's own score, 0 to 1 (MediaPipe's default 0.5).
        max_yaw_rad: absolute yaw of the mesh; past it half of the face is not seen and its points are guesses.
    """

    min_crop_px: float = 32.0
    min_presence: float = 0.5
    max_yaw_rad: float = 1.2


class FaceMesh:
    """Reads the mesh of found faces. Make one and use it for many pictures; not safe in several threads at once.

    Faces go through the networks one by one: a batch was measured to be no faster, and memory stays constant.

    Args:
        threads: threads of one inference; 0 for one a core.
        limits: beyond these a face is a row of NaN.
        task: bytes of the `.task` file; by default the fetched one.

    Raises:
        WeightsError: the file was not fetched or is not the expected one; the message says how to get it.
        MissingExtraError: `ai-edge-litert` is not installed.
        OptionError: `threads` is negative.
    """

    def __init__(self, threads: int = 0, limits: MeshLimits | None = None, task: bytes | None = None) -> None:
        if threads < 0:
            raise OptionError(f"expected threads >= 0, got {threads}")
        self.limits = limits or MeshLimits()
        content = fetched_bytes("face_landmarker") if task is None else task
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as parts:
                points = parts.read("face_landmarks_detector.tflite")
                blendshapes = parts.read("face_blendshapes.tflite")
                self.head: HeadModel = read_head_model(
                    parts.read("geometry_pipeline_metadata_landmarks.binarypb")
                )
        except (zipfile.BadZipFile, KeyError) as error:
            raise WeightsError(
                f"expected a face landmarker .task file, got one that lacks a part: {error}"
            ) from None
        self._points = _Network(points, threads)
        self._blendshapes = _Network(blendshapes, threads)

    def read(self, image: np.ndarray, landmarks_xy_px: np.ndarray) -> Mesh:
        """The mesh of each face of one picture.

        Args:
            image: upright RGB uint8 (H, W, 3).
            landmarks_xy_px: (N, 5, 2) in the order of `LANDMARKS_5`, pixels of the picture.

        Raises:
            ShapeError: an array is not of that shape or type.
        """
        landmarks = np.asarray(landmarks_xy_px, float)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ShapeError(f"expected an RGB uint8 image (H, W, 3), got {image.dtype} {image.shape}")
        if landmarks.ndim != 3 or landmarks.shape[1:] != (5, 2):
            raise ShapeError(f"expected five points a face, (N, 5, 2), got {landmarks.shape}")
        rows = [self._face(image, five) for five in landmarks]
        points = np.array([row[0] for row in rows], np.float32).reshape(-1, MESH_POINTS, 3)
        blendshapes = np.array([row[2] for row in rows], np.float32).reshape(-1, len(BLENDSHAPES))
        pose, position = self.head.pose(points, (image.shape[1], image.shape[0]))
        presence = np.array([row[1] for row in rows], np.float32)
        reasons = [row[3] for row in rows]
        for row in np.flatnonzero(np.abs(pose[:, 0]) > self.limits.max_yaw_rad):
            limit = self.limits.max_yaw_rad
            reasons[row] = f"turned away (yaw {pose[row, 0]:.2f} rad, limit {limit:g} rad)"
            points[row] = blendshapes[row] = pose[row] = position[row] = np.nan
        return Mesh(points, presence, blendshapes, pose, position, tuple(reasons))

    def read_each(
        self, images: Sequence[np.ndarray] | np.ndarray, landmarks_xy_px: np.ndarray, quiet: bool = True
    ) -> Mesh:
        """The mesh of one face of each of N pictures.

        Args:
            images: RGB uint8 (H, W, 3) or grey (H, W).
            landmarks_xy_px: (N, 5, 2), the five points of the face in each picture.
            quiet: no progress bar.
        """
        pairs = zip(images, landmarks_xy_px, strict=True)
        shown = tqdm(pairs, "reading meshes", len(images), disable=quiet, unit="face", leave=False)
        return joined([self.read(as_rgb(image), five[None]) for image, five in shown])

    def _face(self, image: np.ndarray, five: np.ndarray) -> tuple[np.ndarray, float, np.ndarray, str]:
        """Points, presence, blendshapes of one face; NaN and a reason where they cannot be told."""
        nothing = np.full((MESH_POINTS, 3), np.nan), np.nan, np.full(len(BLENDSHAPES), np.nan)
        if not (np.isfinite(five).all() and np.ptp(five, 0).max() > 0):
            return *nothing, "no five points to place the crop by"
        to_crop = inverted(fit_similarity(FIRST_CROP * CROP_PX, five))
        side = CROP_PX / np.sqrt(abs(np.linalg.det(to_crop[:, :2])))
        if not side >= self.limits.min_crop_px:
            return *nothing, f"too small (crop of {side:.3g} px, limit {self.limits.min_crop_px:g} px)"
        for _ in range(2):
            inside, presence = self._pass(image, to_crop)
            if presence < self.limits.min_presence:
                reason = f"low presence ({presence:.2f}, limit {self.limits.min_presence:g})"
                return nothing[0], presence, nothing[2], reason
            points, to_crop = _to_image(inside, to_crop), _square_around(_to_image(inside, to_crop)[:, :2])
        # The blendshape net knows no scale or shift, but it does know lean: give it the upright face.
        upright = points[BLENDSHAPE_POINTS, :2] @ to_crop[:, :2].T
        blendshapes = self._blendshapes.run(upright[None].astype(np.float32))[0].reshape(-1)
        return points, presence, np.clip(blendshapes, 0, 1), ""

    def _pass(self, image: np.ndarray, to_crop: np.ndarray) -> tuple[np.ndarray, float]:
        """Points (478, 3) in pixels of one crop, and presence in [0, 1]."""
        crop = _cut(image, to_crop).astype(np.float32) / 255
        points, presence, *_ = self._points.run(crop[None])
        return points.reshape(MESH_POINTS, 3).astype(float), float(1 / (1 + np.exp(-presence.item())))


def blendshapes_of_frames(
    frames: Sequence[np.ndarray], framing: str, detector: YuNet, mesh: FaceMesh
) -> np.ndarray | None:
    """Blendshapes of the face that a clip, or one picture, is about: float32 (T, 52), `None` where none can be read.

    A frame whose mesh cannot be read takes the values of the nearest one that can, the earlier of two.

    Args:
        frames: RGB uint8 (H, W, 3), T of them.
        framing: see `mien.faces.crops.points_of`; in a "photo" a frame without a found face cannot be read.
        detector: finds the five points.
        mesh: reads the face.
    """
    points, seen = points_of_clip(frames, framing, detector)
    if framing == "photo" and not seen.any():
        return None
    read = [mesh.read(image, five[None]) for image, five in zip(frames, points, strict=True)]
    told = np.flatnonzero([one.told[0] for one in read])
    if not len(told):
        return None
    nearest = told[np.abs(told - np.arange(len(frames))[:, None]).argmin(1)]
    return np.stack([read[place].blendshapes[0] for place in nearest])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the line that LiteRT writes about its delegate, past Python, to the process's error stream."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


class _Network:
    """One TFLite network on LiteRT, made once."""

    def __init__(self, content: bytes, threads: int) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ModuleNotFoundError:
            raise MissingExtraError("the mesh needs ai-edge-litert: pip install 'mien[mesh]'") from None
        with _quiet():
            self.interpreter: Any = Interpreter(model_content=content, num_threads=threads or os.cpu_count())
            self.interpreter.allocate_tensors()
        self.input = self.interpreter.get_input_details()[0]["index"]
        self.outputs = [output["index"] for output in self.interpreter.get_output_details()]

    def run(self, values: np.ndarray) -> list[np.ndarray]:
        """All outputs of one input, as copies."""
        self.interpreter.set_tensor(self.input, values)
        self.interpreter.invoke()
        return [self.interpreter.get_tensor(index) for index in self.outputs]


def _to_image(points: np.ndarray, to_crop: np.ndarray) -> np.ndarray:
    """(478, 3) from pixels of a crop to pixels of the image; depth is scaled as the rest."""
    back = inverted(to_crop)
    scale = np.sqrt(abs(np.linalg.det(back[:, :2])))
    return np.column_stack([points[:, :2] @ back[:, :2].T + back[:, 2], points[:, 2] * scale])


def _square_around(points_xy: np.ndarray) -> np.ndarray:
    """The transform (2, 3) to a crop around a mesh, upright by the eyes' outer corners."""
    across = points_xy[LEFT_EYE_OUTER] - points_xy[RIGHT_EYE_OUTER]
    cos, sin = across / max(np.linalg.norm(across), 1e-9)
    turn = np.array([[cos, sin], [-sin, cos]])
    upright = points_xy @ turn.T
    low, high = upright.min(0), upright.max(0)
    linear = turn * CROP_PX / (ROOM * max((high - low).max(), 1e-9))
    return np.column_stack([linear, CROP_PX / 2 - linear @ (turn.T @ (low + high) / 2)])


def _cut(image: np.ndarray, to_crop: np.ndarray) -> np.ndarray:
    """The crop (256, 256, 3) of an image, border pixels repeated beyond it.

    As `mien.transforms.align.warp` does, but by Pillow's bilinear transform, which is ten times as fast.
    """
    back = inverted(to_crop)
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * CROP_PX @ back[:, :2].T + back[:, 2]
    size = np.array([image.shape[1], image.shape[0]])
    low, high = np.floor(corners.min(0)).astype(int) - 2, np.ceil(corners.max(0)).astype(int) + 2
    start = np.clip(low, 0, size - 1)
    end = np.clip(high, start + 1, size)
    region = image[start[1] : end[1], start[0] : end[0]]
    # Shrink by a whole factor first, so that bilinear sampling does not skip source pixels.
    factor = max(1, int(np.sqrt(abs(np.linalg.det(back[:, :2])))))
    if factor > 1:
        region = np.asarray(Image.fromarray(region).reduce(factor))
    before, after = -(-(start - low) // factor), -(-(high - end) // factor)
    padded = np.pad(region, ((before[1], after[1]), (before[0], after[0]), (0, 0)), mode="edge")
    linear, shift = back[:, :2] / factor, (back[:, 2] - start) / factor + before
    data = (*linear[0], shift[0], *linear[1], shift[1])
    picture = Image.fromarray(padded).transform(
        (CROP_PX, CROP_PX), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR
    )
    return np.asarray(picture)
