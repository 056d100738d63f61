"""Run a network for faces as its contract says, without torch.

Needs: RGB uint8 images with five points per face. Gives: calibrated probabilities of expressions, or action units, in
the contract's order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from mien.errors import ShapeError, WeightsError
from mien.labels.action_units import unit_numbers
from mien.transforms.align import inverted, template_to_image, warp
from mien.types.media import LUMA
from mien.types.scores import Scores
from mien.types.units import ActionUnits
from mien.weights.store import Weights, open_session


class FaceRunner:
    """One network and its crop; subclasses say what the outputs are.

    Args:
        weights: contract and bytes; its task must be the subclass's.
        threads: threads of one inference, 0 for as many as there are cores.

    Raises:
        WeightsError: a contract for something else, or one that does not fit the network.
    """

    task: ClassVar[str]
    what: ClassVar[str]
    batch_size = 64

    def __init__(self, weights: Weights, threads: int = 0) -> None:
        if weights.task != self.task or weights.preprocess is None or not weights.labels:
            raise WeightsError(
                f"expected a network for {self.what}, got {weights.name!r} for {weights.task!r}. "
                f"Choose a model whose contract says task {self.task!r}."
            )
        known = ("BLENDSHAPES",) if weights.preprocess.of_mesh else ("RGB", "BGR", "GREY")
        if weights.preprocess.channel_order not in known:
            raise WeightsError(
                f"expected channel_order {' or '.join(known)} in the contract, "
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

    def outputs(self, crops: np.ndarray) -> np.ndarray:
        """Raw outputs of the network, float32 (N, K).

        Args:
            crops: aligned RGB uint8 (N, S, S, 3); for a network of clips (N, T, S, S, 3); for one that reads
                the mesh, float32 blendshapes (N, 52) or (N, T, 52).
        """
        parts = [self.session.run(None, {self.input_name: faces})[0] for faces in self.inputs(crops)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.weights.labels)), np.float32)

    def inputs(self, crops: np.ndarray) -> Iterator[np.ndarray]:
        """Aligned crops as the network wants them, float32 (B, C, [T,] S, S), batch by batch. See `outputs`."""
        of_mesh = self.preprocess.of_mesh
        shape = self.preprocess.shape if of_mesh else (*self.preprocess.shape[1:], 3)
        kind, what = (np.float32, "blendshapes") if of_mesh else (np.uint8, "aligned crops")
        if crops.dtype != kind or crops.shape[1:] != shape:
            raise ShapeError(
                f"expected {what}, {np.dtype(kind)} (N, {', '.join(map(str, shape))}), got {crops.dtype} {crops.shape}"
            )
        if self.preprocess.channel_order == "BGR":
            crops = crops[..., ::-1]
        elif self.preprocess.channel_order == "GREY":
            crops = (crops @ np.array(LUMA, np.float32))[..., None]
        mean, std = (np.array(part, np.float32) for part in (self.preprocess.mean, self.preprocess.std))
        many = max(1, self.batch_size // (self.preprocess.frames or 1))
        for start in range(0, len(crops), many):
            faces = (crops[start : start + many] - mean) / std
            yield np.ascontiguousarray(faces if of_mesh else np.moveaxis(faces, -1, 1))


class ExpressionRunner(FaceRunner):
    """One expression network, its crop and its calibration; the contract's task is "expression"."""

    task, what = "expression", "expressions"

    def logits(self, crops: np.ndarray) -> np.ndarray:
        """Raw outputs of the network, float32 (N, K). These are not probabilities. See `outputs`."""
        return self.outputs(crops)

    def probabilities(self, logits: np.ndarray, labels: Sequence[str] | None = None) -> Scores:
        """Calibrated probabilities: the softmax of logits / temperature + bias, both from the contract.

        Args:
            logits: (N, K).
            labels: of the network's classes those that may be answered, in the order that is wanted; all, if left out.
        """
        calibration = self.weights.calibration
        bias = np.array(calibration.get("bias", 0.0), np.float32)
        scaled = logits / np.float32(calibration["temperature"]) + bias
        labels = self.weights.labels if labels is None else tuple(labels)
        scaled = scaled[:, [self.weights.labels.index(name) for name in labels]]
        powers = np.exp(scaled - scaled.max(1, keepdims=True))
        return Scores(labels, (powers / powers.sum(1, keepdims=True)).astype(np.float32))

    def uncertain(self, scores: Scores) -> np.ndarray:
        """Boolean (N,): the confidence lies under the contract's threshold."""
        return scores.confidence < self.weights.calibration["threshold"]


class UnitsRunner(FaceRunner):
    """One network for action units; the contract's task is "action_units", its labels "AU1", "AU2", ..."""

    task, what = "action_units", "action units"

    def units(self, crops: np.ndarray) -> ActionUnits:
        """Probabilities that the units are there in aligned crops; see `outputs`."""
        return self.named(self.outputs(crops))

    def named(self, outputs: np.ndarray) -> ActionUnits:
        """Raw outputs (N, K) as probabilities of the contract's units."""
        values = np.clip(outputs, 0.0, 1.0)
        return ActionUnits(unit_numbers(self.weights.labels), values, "probability", self.weights.name)


def face_runner(weights: Weights, threads: int = 0) -> ExpressionRunner | UnitsRunner:
    """The runner for what a contract says."""
    return (UnitsRunner if weights.task == UnitsRunner.task else ExpressionRunner)(weights, threads)
