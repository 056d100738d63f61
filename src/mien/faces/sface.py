"""SFace: a vector for each face that is close for pictures of one person, on ONNX Runtime.

Source: Zhong, Deng, Hu, Zhao, Li, Wen, "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition", IEEE
Transactions on Image Processing 30, 2021; weights of the OpenCV model zoo (`face_recognition_sface_2021dec`, Apache-2.0),
block-quantised to int8 and folded back to float32 here.

Needs: an RGB uint8 image and five points a face. Gives: unit vectors (N, 128); compare them by their dot product.
Vectors tell who people are: they are used while a clip is tracked, and never written anywhere.
"""

from __future__ import annotations

import numpy as np

from mien.errors import MissingExtraError
from mien.transforms.align import fit_similarity, warp
from mien.weights.blockquant import fold_to_float32
from mien.weights.fetch import fetched_bytes
from mien.weights.store import session_of

SIDE_PX = 112
POINTS_PX = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Where OpenCV's FaceRecognizerSF puts the five points in the crop, pixels; in the order of `LANDMARKS_5`."""


class SFace:
    """Tells people apart. Make one and use it for many pictures.

    Args:
        threads: threads of one inference; 0 for one a core.

    Raises:
        WeightsError: the file was not fetched; the message says how to get it.
        MissingExtraError: `onnx`, which unpacks the weights, is not installed.
    """

    def __init__(self, threads: int = 0) -> None:
        content = fetched_bytes("sface")
        try:
            import onnx
        except ModuleNotFoundError:
            raise MissingExtraError("telling people apart needs onnx: pip install 'mien[identity]'") from None
        model = fold_to_float32(onnx.load_from_string(content))
        # The file lists its weights as inputs too, under names that nothing uses any more.
        picture = [value for value in model.graph.input if value.name == "data"]
        del model.graph.input[:]
        model.graph.input.extend(picture)
        self.session = session_of(model.SerializeToString(), threads)

    def describe(self, image: np.ndarray, landmarks_xy_px: np.ndarray) -> np.ndarray:
        """Unit vectors float32 (N, 128) of the faces of one picture.

        Args:
            image: RGB uint8 (H, W, 3).
            landmarks_xy_px: (N, 5, 2), in the order of `LANDMARKS_5`.
        """
        vectors = np.zeros((len(landmarks_xy_px), 128), np.float32)
        for row, five in zip(vectors, landmarks_xy_px, strict=True):
            crop, _ = warp(image, fit_similarity(five, POINTS_PX), SIDE_PX)
            row[:] = self.session.run(None, {"data": crop.transpose(2, 0, 1)[None].astype(np.float32)})[0][0]
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
