"""Network files with the contract that says how to run them, verified before use.

A shipped network is one ONNX file under `mien/weights/files`. Its contract (labels and their order,
preprocessing, calibration, licence, training data, scores) stands in the file's own metadata under
`mien.contract`, as JSON, so that the file alone is enough to run it rightly. The sha256 of each shipped file
stands here, and a file that differs is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import onnxruntime

from mien.errors import UnknownNameError, WeightsError
from mien.types.media import Preprocess

CONTRACT_KEY = "mien.contract"

SHIPPED: Mapping[str, tuple[str, str]] = {
    "yunet": ("yunet_2023mar.onnx", "b6bd5a64c98f3250fb23d59e805ac905f37c4a460b774d23ff5938bb645ab4e5"),
    "expression": ("expression.onnx", "08b368b843f07839da70f57f150d4600a36dbb8ce2806b8a8d6ffeb70933dea0"),
}
"""Name -> (file, sha256) of the networks inside the package."""


@dataclass(frozen=True)
class Weights:
    """A network's bytes and everything that changes its numbers.

    Attributes:
        name: registry name.
        content: the ONNX file.
        sha256: hash of `content`, hexadecimal.
        task: "face_detection", "expression" or "action_units".
        licence: SPDX name of the weights' licence, and `notice` its attribution.
        labels: class names in the order of the outputs; empty for a detector.
        preprocess: crop, channels and normalisation; `None` for a detector.
        calibration: parameters that turn logits into probabilities (`temperature`, `bias`) and the
            confidence under which a face is `uncertain` (`threshold`).
        trained_on: data sets.
        scores: measured results with protocol, seed and data hash.
        provenance: where the weights come from.
    """

    name: str
    content: bytes = field(repr=False)
    sha256: str
    task: str
    licence: str
    notice: str
    labels: tuple[str, ...]
    preprocess: Preprocess | None
    calibration: Mapping[str, Any]
    trained_on: tuple[str, ...]
    scores: Mapping[str, Any]
    provenance: str


def load_weights(name: str | Path) -> Weights:
    """A shipped network by name, or any ONNX file with a contract by path.

    Raises:
        UnknownNameError: neither a shipped name nor a file.
        WeightsError: the file is missing, damaged, changed, or carries no contract.
    """
    if str(name) in SHIPPED:
        file, expected = SHIPPED[str(name)]
        path = resources.files("mien.weights") / "files" / file
        content = path.read_bytes()
        found = hashlib.sha256(content).hexdigest()
        if found != expected:
            raise WeightsError(
                f"expected sha256 {expected} for the shipped file {file}, got {found}: the installation is "
                "damaged or was changed. Reinstall mien."
            )
        return read_contract(str(name), content)
    path = Path(name)
    if path.is_dir():
        raise WeightsError(
            f"expected an ONNX file, got the folder {path}. A training's run is exported first: "
            f"mien export {path} --out model.onnx"
        )
    if not path.is_file():
        if path.suffix == ".onnx" or path.parent != Path():
            raise WeightsError(f"expected an ONNX file at {path}, got nothing there. Check the path.")
        raise UnknownNameError("shipped network", name, SHIPPED)
    return read_contract(path.stem, path.read_bytes())


def read_contract(name: str, content: bytes) -> Weights:
    """The contract inside an ONNX file's metadata, with the bytes it belongs to.

    Raises:
        WeightsError: the bytes are no ONNX file, or its metadata lacks the contract or part of it.
    """
    try:
        stored = session_of(content, 1).get_modelmeta().custom_metadata_map.get(CONTRACT_KEY)
    except Exception as error:  # ONNX Runtime raises its own types, which differ between versions
        raise WeightsError(
            f"expected an ONNX network for {name!r}, got bytes it cannot read: {error}"
        ) from None
    if stored is None:
        raise WeightsError(
            f"expected {CONTRACT_KEY!r} in the metadata of {name!r}, got none. A bare ONNX file does not say "
            "which labels, crop or colours it wants; write the contract with mien.weights.write_contract."
        )
    try:
        contract = json.loads(stored)
        preprocess = contract["preprocess"]
        return Weights(
            name=name,
            content=content,
            sha256=hashlib.sha256(content).hexdigest(),
            task=contract["task"],
            licence=contract["licence"],
            notice=contract["notice"],
            labels=tuple(contract["labels"]),
            preprocess=None if preprocess is None else _preprocess(preprocess),
            calibration=contract["calibration"],
            trained_on=tuple(contract["trained_on"]),
            scores=contract["scores"],
            provenance=contract["provenance"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"expected a whole contract in {name!r}, got one without or with a bad {error}"
        ) from error


def _preprocess(stored: Mapping[str, Any]) -> Preprocess:
    return Preprocess(
        size_px=stored["size_px"],
        template=stored["template"],
        channel_order=stored["channel_order"],
        mean=tuple(stored["mean"]),
        std=tuple(stored["std"]),
        frames=stored.get("frames"),
    )


def write_contract(model: Any, contract: Mapping[str, Any]) -> None:
    """Put a contract into an `onnx.ModelProto`'s metadata, in place."""
    kept = [(entry.key, entry.value) for entry in model.metadata_props if entry.key != CONTRACT_KEY]
    del model.metadata_props[:]
    for key, value in [*kept, (CONTRACT_KEY, json.dumps(contract, sort_keys=True))]:
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value


def open_session(weights: Weights, threads: int = 0) -> onnxruntime.InferenceSession:
    """A session on the CPU for a network.

    Args:
        weights: contract and bytes.
        threads: threads of one inference; 0 leaves it to ONNX Runtime (one a core).
    """
    return session_of(weights.content, threads)


def session_of(content: bytes, threads: int) -> onnxruntime.InferenceSession:
    """A session on the CPU for an ONNX file's bytes: so many threads (0 for one a core), which sleep while they wait."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Threads that spin while they wait take the core away from decoding; the loss without is small.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
