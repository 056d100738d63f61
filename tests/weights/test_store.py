from __future__ import annotations

import hashlib
import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from mien.errors import UnknownNameError, WeightsError
from mien.labels.expressions import EXPRESSIONS
from mien.methods.runner import ExpressionRunner
from mien.transforms.align import TEMPLATES
from mien.weights import store
from mien.weights.store import load_weights, open_session, read_contract, write_contract

CONTRACT = {
    "task": "expression",
    "licence": "Apache-2.0",
    "notice": "drawn for a test",
    "labels": ["happy", "sad"],
    "preprocess": {
        "size_px": 4,
        "template": "mien_face_v1",
        "channel_order": "BGR",
        "mean": [1.0, 2.0, 3.0],
        "std": [4.0, 5.0, 6.0],
    },
    "calibration": {"temperature": 2.0, "threshold": 0.5},
    "trained_on": ["nothing"],
    "scores": {"accuracy": 0.5},
    "provenance": "tests",
}


@pytest.fixture
def model():
    """Two outputs: the mean of the first and of the last channel that arrives."""
    onnx = pytest.importorskip("onnx", reason="making networks needs onnx: pip install 'mien[train]'")
    from onnx import TensorProto, helper, numpy_helper

    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["faces"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("MatMul", ["flat", "pick"], ["logits"]),
        ],
        "two",
        [value("faces", TensorProto.FLOAT, ["batch", 3, 4, 4])],
        [value("logits", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(np.array([[1, 0], [0, 0], [0, 1]], np.float32), "pick")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(made)
    return made


def with_contract(model, **changes) -> bytes:
    write_contract(model, {**CONTRACT, **changes})
    return model.SerializeToString()


@pytest.mark.parametrize("name", store.SHIPPED)
def test_shipped_files_have_the_stated_hash(name: str) -> None:
    file, sha256 = store.SHIPPED[name]
    content = (resources.files("mien.weights") / "files" / file).read_bytes()
    assert hashlib.sha256(content).hexdigest() == sha256
    weights = load_weights(name)
    assert (weights.name, weights.sha256, weights.content) == (name, sha256, content)
    assert weights.licence in ("Apache-2.0", "MIT")
    assert weights.notice
    assert weights.provenance
    assert weights.trained_on


def test_no_file_in_the_package_is_without_a_hash() -> None:
    files = {path.name for path in (resources.files("mien.weights") / "files").iterdir()}
    assert files == {file for file, _ in store.SHIPPED.values()}


def test_the_shipped_expression_network() -> None:
    weights = load_weights("expression")
    assert len(weights.content) <= 12 * 1024 * 1024
    assert weights.task == "expression"
    assert weights.labels == EXPRESSIONS
    assert weights.preprocess.channel_order == "RGB"
    assert weights.preprocess.template in TEMPLATES
    assert 32 <= weights.preprocess.size_px <= 128
    assert weights.calibration["temperature"] > 0
    assert 1 / 8 < weights.calibration["threshold"] < 1


def test_changed_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    file, sha256 = store.SHIPPED["yunet"]
    monkeypatch.setattr(store, "SHIPPED", {"yunet": (file, "0" * 64)})
    with pytest.raises(WeightsError, match=rf"expected sha256 0{{64}} .*got {sha256}.*Reinstall mien"):
        load_weights("yunet")


def test_an_unknown_name_suggests_and_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"no shipped network 'yunett'\. Did you mean 'yunet'"):
        load_weights("yunett")
    with pytest.raises(WeightsError, match=r"expected an ONNX file at .*got nothing there"):
        load_weights(tmp_path / "gone.onnx")
    with pytest.raises(WeightsError, match="expected an ONNX file at"):
        load_weights("gone.onnx")
    with pytest.raises(
        WeightsError, match=r"got the folder .*A training's run is exported first: mien export"
    ):
        load_weights(tmp_path)


@pytest.mark.parametrize("content", [b"", b"this is no network", b"\x08\x07" * 40])
def test_bytes_that_are_no_network_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"expected .*'bad'"):
        load_weights(path)


def test_a_network_without_a_contract_is_refused(model) -> None:
    with pytest.raises(WeightsError, match=r"expected 'mien\.contract' in the metadata of 'x', got none"):
        read_contract("x", model.SerializeToString())


@pytest.mark.parametrize("key", CONTRACT)
def test_a_contract_that_lacks_a_part_is_refused(key: str, model) -> None:
    write_contract(model, {name: value for name, value in CONTRACT.items() if name != key})
    with pytest.raises(WeightsError, match=f"expected a whole contract in 'x', got .*{key}"):
        read_contract("x", model.SerializeToString())


def test_a_contract_that_is_no_json_is_refused(model) -> None:
    entry = model.metadata_props.add()
    entry.key, entry.value = store.CONTRACT_KEY, "{labels:"
    with pytest.raises(WeightsError, match="expected a whole contract"):
        read_contract("x", model.SerializeToString())


def test_a_contract_comes_back_as_it_was_written(model, tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(with_contract(model))
    weights = load_weights(path)
    assert weights.name == "mine"
    assert weights.labels == ("happy", "sad")
    assert (weights.task, weights.licence, weights.notice) == ("expression", "Apache-2.0", "drawn for a test")
    assert weights.preprocess.mean == (1.0, 2.0, 3.0)
    assert weights.preprocess.std == (4.0, 5.0, 6.0)
    assert weights.calibration == CONTRACT["calibration"]
    assert weights.scores == CONTRACT["scores"]
    assert weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_writing_twice_replaces_and_keeps_other_metadata(model) -> None:
    entry = model.metadata_props.add()
    entry.key, entry.value = "author", "somebody"
    write_contract(model, {"a": 1})
    write_contract(model, {"b": 2})
    assert {entry.key: entry.value for entry in model.metadata_props} == {
        "author": "somebody",
        store.CONTRACT_KEY: json.dumps({"b": 2}),
    }


def test_the_runner_obeys_the_contract(model) -> None:
    """Mean, std and channel order, by hand: the network shows the first and the last channel."""
    crops = np.empty((1, 4, 4, 3), np.uint8)
    crops[:] = (10, 20, 30)
    bgr = ExpressionRunner(read_contract("x", with_contract(model)), 1)
    assert bgr.logits(crops)[0] == pytest.approx([(30 - 1) / 4, (10 - 3) / 6])
    rgb = {**CONTRACT["preprocess"], "channel_order": "RGB"}
    plain = ExpressionRunner(read_contract("x", with_contract(model, preprocess=rgb)), 1)
    assert plain.logits(crops)[0] == pytest.approx([(10 - 1) / 4, (30 - 3) / 6])


def test_a_channel_order_that_is_neither_is_refused(model) -> None:
    wrong = {**CONTRACT["preprocess"], "channel_order": "rgb "}
    with pytest.raises(WeightsError):
        ExpressionRunner(read_contract("x", with_contract(model, preprocess=wrong)), 1)


def test_labels_that_do_not_fit_the_outputs_are_refused(model) -> None:
    with pytest.raises((WeightsError, ValueError)):
        ExpressionRunner(read_contract("x", with_contract(model, labels=["happy", "sad", "fear"])), 1)


def test_a_network_of_another_task_is_refused(model) -> None:
    with pytest.raises(WeightsError, match="expected a network for expressions, got 'x' for 'pose'"):
        ExpressionRunner(read_contract("x", with_contract(model, task="pose")), 1)


def test_a_session_runs_on_the_cpu_with_the_threads_asked_for() -> None:
    session = open_session(load_weights("yunet"), 1)
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert session.get_session_options().intra_op_num_threads == 1
