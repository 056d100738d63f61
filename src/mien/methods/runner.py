"""Run an expression network as its contract says, without torch.

Needs: RGB uint8 images with five points per face. Gives: calibrated probabilities in the contract's order.
"""

from __future__ import annotations

import numpy as np

from mien.errors import ShapeError, WeightsError
from mien.transforms.align import inverted, template_to_image, warp
from mien.types.media import LUMA
from mien.types.scores import Scores
from mien.weights.store import Weights, open_session


class ExpressionRunner:
    """One expression network, its crop and its calibration.

    Args:
        weights: contract and bytes; its task must be "expression".
        threads: threads of one inference, 0 for as many as there are cores.
    """

    batch_size = 64

    def __init__(self, weights: Weights, threads: int = 0) -> None:
        if weights.task != "expression" or weights.preprocess is None or not weights.labels:
            raise WeightsError(
                f"expected a network for expressions, got {weights.name!r} for {weights.task!r}. "
                "Choose a model whose contract says task 'expression'."
            )
        if weights.preprocess.channel_order not in ("RGB", "BGR", "GREY"):
            raise WeightsError(
                "expected channel_order RGB, BGR or GREY in the contract, "
                f"got {weights.preprocess.channel_order!r}"
            )
        self.weights = weights
        self.preprocess = weights.preprocess
        self.session = open_session(weights, threads)
        outputs = self.session.get_outputs()[0].shape[-1]
        if isinstance(outputs, int) and outputs != len(weights.labels):
            raise WeightsError(
                f"expected {outputs} labels in the contract for the network's {outputs} outputs, "
                f"got {len(weights.labels)}"
            )
        self.input_name = self.session.get_inputs()[0].name

    def crop(self, image: np.ndarray, landmarks_xy_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The aligned crops of one image's faces.

        Args:
            image: RGB uint8 (H, W, 3).
            landmarks_xy_px: (N, 5, 2).

        Returns:
            uint8 (N, S, S, 3), and the share of each crop inside the image, (N,).
        """
        size = self.preprocess.size_px
        placed = [template_to_image(self.preprocess.template, points) for points in landmarks_xy_px]
        pairs = [warp(image, size * inverted(matrix), size) for matrix in placed]
        crops = np.stack([crop for crop, _ in pairs]) if pairs else np.zeros((0, size, size, 3), np.uint8)
        return crops, np.array([inside for _, inside in pairs], np.float32)

    def logits(self, crops: np.ndarray) -> np.ndarray:
        """Raw outputs of the network, float32 (N, K). These are not probabilities.

        Args:
            crops: aligned RGB uint8 (N, S, S, 3).
        """
        found = self.outputs(crops)
        return found[0] if found else np.zeros((0, len(self.weights.labels)), np.float32)

    def outputs(self, crops: np.ndarray) -> list[np.ndarray]:
        """Every output of the file, logits first, for aligned RGB uint8 crops (N, S, S, 3); none for no crops."""
        size = self.preprocess.size_px
        if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[1:] != (size, size, 3):
            raise ShapeError(
                f"expected aligned crops, uint8 (N, {size}, {size}, 3), got {crops.dtype} {crops.shape}"
            )
        if self.preprocess.channel_order == "BGR":
            crops = crops[..., ::-1]
        elif self.preprocess.channel_order == "GREY":
            crops = (crops @ np.array(LUMA, np.float32))[..., None]
        mean, std = (np.array(part, np.float32) for part in (self.preprocess.mean, self.preprocess.std))
        parts = [
            self.session.run(
                None,
                {
                    self.input_name: np.ascontiguousarray(
                        ((crops[start : start + self.batch_size] - mean) / std).transpose(0, 3, 1, 2)
                    )
                },
            )
            for start in range(0, len(crops), self.batch_size)
        ]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    def probabilities(self, logits: np.ndarray) -> Scores:
        """Calibrated probabilities: the softmax of logits / temperature + bias, both from the contract."""
        calibration = self.weights.calibration
        bias = np.array(calibration.get("bias", 0.0), np.float32)
        scaled = logits / np.float32(calibration["temperature"]) + bias
        powers = np.exp(scaled - scaled.max(1, keepdims=True))
        return Scores(self.weights.labels, (powers / powers.sum(1, keepdims=True)).astype(np.float32))

    def uncertain(self, scores: Scores) -> np.ndarray:
        """Boolean (N,): the confidence lies under the contract's threshold."""
        return scores.confidence < self.weights.calibration["threshold"]
