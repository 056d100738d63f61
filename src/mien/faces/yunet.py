"""YuNet face detector with five landmarks, on ONNX Runtime, searched at more than one scale.

Source: Wu, Peng, Yu, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 2023;
weights of the OpenCV model zoo (`face_detection_yunet_2023mar`, MIT), see `mien.recipes.yunet`.

Needs: RGB uint8 images (H, W, 3). Gives: boxes, scores and five points in pixels of those images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from mien.faces.boxes import non_maximum_suppression
from mien.types.faces import Faces
from mien.weights.store import Weights, open_session

STRIDES = (8, 16, 32)
GRAIN_PX = 32
"""The network halves five times: its input is padded to a multiple of this."""


class YuNet:
    """Finds faces in pictures of any size.

    A picture is searched whole at a coarse scale, where large faces fit the network, and once more at a
    fine scale if faces of `min_face_px` would be lost in the coarse one. What is found twice is merged.
    Where nothing is found, the picture is searched once more, small and inside a black frame: a face that
    fills its picture is only found with some room around it.

    Args:
        weights: contract and bytes of the network.
        threads: threads of one inference, 0 for as many as there are cores.
        score_threshold: detections under this score go; 0 to 1.
        min_face_px: the smallest face that is looked for, in pixels of the picture. Smaller ones are
            reported when they are found, down to half of it.
    """

    coarse_side_px = 640
    one_pass_ratio = 1.6
    max_enlargement = 2.0
    framed_side_px = 320
    face_at_network_px = 14.0
    max_fine_pixels = 12_000_000
    nms_iou = 0.3

    def __init__(
        self,
        weights: Weights,
        threads: int = 0,
        score_threshold: float = 0.7,
        min_face_px: float = 24.0,
    ) -> None:
        self.session = open_session(weights, threads)
        self.score_threshold = score_threshold
        self.min_face_px = min_face_px

    def detect(self, images: Sequence[np.ndarray]) -> list[Faces]:
        """Find the faces of each image, best score first.

        Args:
            images: RGB uint8 arrays (H, W, 3). Images of equal size are searched in one batch.
        """
        found: list[list[Faces]] = [[] for _ in images]
        by_shape: dict[tuple[int, int], list[int]] = {}
        for index, image in enumerate(images):
            by_shape.setdefault(image.shape[:2], []).append(index)
        for (height, width), indices in by_shape.items():
            for scale in self.scales(height, width):
                size = max(1, round(width * scale)), max(1, round(height * scale))
                batch = [_resized(images[index], size) for index in indices]
                for index, faces in zip(indices, self._search(batch, (width, height)), strict=True):
                    found[index].append(faces)
        merged = [self.merge(per_scale) for per_scale in found]
        return [faces if len(faces) else self._in_frame(images[i]) for i, faces in enumerate(merged)]

    def _in_frame(self, image: np.ndarray) -> Faces:
        """Search one picture inside a black frame of a third of its longer side."""
        height, width = image.shape[:2]
        scale = self.framed_side_px / (max(height, width) * 5 / 3)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        margin = round(max(size) / 3)
        framed = np.pad(_resized(image, size), ((margin, margin), (margin, margin), (0, 0)))
        found = self._search([framed], (framed.shape[1], framed.shape[0]))[0]
        ratio = np.array([width / size[0], height / size[1]], np.float32)
        boxes = (found.box_xyxy_px - margin) * np.tile(ratio, 2)
        points = (found.landmarks_xy_px - margin) * ratio
        return self.merge([Faces(boxes, found.detection_score, points)])

    def search_squares(
        self, image: np.ndarray, corners_xy_px: np.ndarray, sides_px: np.ndarray, network_px: int
    ) -> list[Faces]:
        """The faces in each of some squares of one image, in one pass; what lies beyond the image is black.

        Args:
            image: RGB uint8 (H, W, 3).
            corners_xy_px: (N, 2), left and top of each square. sides_px: (N,).
            network_px: side at which the network sees each square.
        """
        cuts, places = [], []
        for corner, side in zip(
            np.floor(corners_xy_px).astype(int), np.ceil(sides_px).astype(int), strict=True
        ):
            low, high = np.maximum(corner, 0), np.minimum(corner + side, image.shape[1::-1])
            square = np.zeros((side, side, 3), np.uint8)
            inside = image[low[1] : high[1], low[0] : high[0]]
            left, top = low - corner
            square[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
            cuts.append(_resized(square, (network_px, network_px)))
            places.append((corner, side / network_px))
        found = self._search(cuts, (network_px, network_px))
        return [
            self.merge(
                [
                    Faces(
                        (faces.box_xyxy_px * ratio + np.tile(corner, 2)).astype(np.float32),
                        faces.detection_score,
                        (faces.landmarks_xy_px * ratio + corner).astype(np.float32),
                    )
                ]
            )
            for faces, (corner, ratio) in zip(found, places, strict=True)
        ]

    def scales(self, height: int, width: int) -> tuple[float, ...]:
        """The scales at which a picture of this size is searched, coarse first."""
        coarse = min(self.max_enlargement, self.coarse_side_px / max(height, width))
        wanted = min(self.max_enlargement, self.face_at_network_px / self.min_face_px)
        fine = min(wanted, (self.max_fine_pixels / (height * width)) ** 0.5)
        if fine > self.one_pass_ratio * coarse:
            return coarse, fine
        return (max(coarse, fine),)

    def pixels(self, height: int, width: int) -> float:
        """How many pixels the network sees to search a picture of this size."""
        return sum(scale**2 * height * width for scale in self.scales(height, width))

    def _search(self, batch: list[np.ndarray], size_wh: tuple[int, int]) -> list[Faces]:
        """One pass of the network over resized images of one size; results in original pixels."""
        height, width = batch[0].shape[:2]
        padded_h, padded_w = (-(-side // GRAIN_PX) * GRAIN_PX for side in (height, width))
        blob = np.zeros((len(batch), 3, padded_h, padded_w), np.float32)
        for row, image in zip(blob, batch, strict=True):
            row[:, :height, :width] = image[..., ::-1].transpose(2, 0, 1)  # the network was trained on BGR
        outputs = dict(
            zip(
                (output.name for output in self.session.get_outputs()),
                self.session.run(None, {"input": blob}),
                strict=True,
            )
        )
        ratio = np.array([size_wh[0] / width, size_wh[1] / height], np.float32)
        return [self._decode(outputs, row, padded_w, ratio) for row in range(len(batch))]

    def _decode(self, outputs: dict[str, np.ndarray], row: int, width: int, ratio: np.ndarray) -> Faces:
        """Candidates over the threshold from the three strides, before suppression."""
        boxes, scores, points = [], [], []
        for stride in STRIDES:
            score = np.sqrt(
                np.clip(outputs[f"cls_{stride}"][row, :, 0], 0, 1)
                * np.clip(outputs[f"obj_{stride}"][row, :, 0], 0, 1)
            )
            keep = np.flatnonzero(score >= self.score_threshold)
            cell = np.stack([keep % (width // stride), keep // (width // stride)], 1).astype(np.float32)
            box = outputs[f"bbox_{stride}"][row, keep]
            centre, half = (cell + box[:, :2]) * stride, np.exp(box[:, 2:]) * stride / 2
            boxes.append(np.concatenate([(centre - half) * ratio, (centre + half) * ratio], 1))
            offsets = outputs[f"kps_{stride}"][row, keep].reshape(-1, 5, 2)
            points.append((offsets + cell[:, None]) * stride * ratio)
            scores.append(score[keep])
        return Faces(np.concatenate(boxes), np.concatenate(scores), np.concatenate(points))

    def merge(self, per_scale: list[Faces]) -> Faces:
        """Suppress what several cells, scales or squares found twice, and what is too small."""
        boxes = np.concatenate([faces.box_xyxy_px for faces in per_scale])
        scores = np.concatenate([faces.detection_score for faces in per_scale])
        points = np.concatenate([faces.landmarks_xy_px for faces in per_scale])
        large = np.flatnonzero((boxes[:, 2:] - boxes[:, :2]).min(1) >= self.min_face_px / 2)
        kept = large[non_maximum_suppression(boxes[large], scores[large], self.nms_iou)]
        return Faces(boxes[kept], scores[kept], points[kept])


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image at another (width, height), averaged over the source pixels when it shrinks."""
    if (image.shape[1], image.shape[0]) == size:
        return image
    picture = Image.fromarray(image)
    return np.asarray(picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))
