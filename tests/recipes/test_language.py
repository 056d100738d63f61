"""The recipes of language methods, on drawn faces and with a language model that knows 259 letters."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="recipes need torch: pip install 'mien[train]'")
pytest.importorskip("onnx", reason="recipes need onnx: pip install 'mien[train]'")

from mien.engine.checkpoint import load_checkpoint  # noqa: E402
from mien.engine.recipe import override  # noqa: E402
from mien.errors import CheckpointError, OptionError  # noqa: E402
from mien.labels.expressions import EXPRESSIONS  # noqa: E402
from mien.methods.language.causal_lm import Words  # noqa: E402
from mien.methods.method import create  # noqa: E402
from mien.recipes import expllm_small, tinyemo_ferplus  # noqa: E402
from mien.recipes.expllm_small import Run, Settings, network_of, records_of  # noqa: E402
from mien.recipes.ferplus_features import Seen  # noqa: E402
from mien.types.units import ActionUnits  # noqa: E402

LETTERS = Words(
    encode=lambda text: [3 + byte for byte in text.encode()],
    decode=lambda ids: bytes(id - 3 for id in ids if id >= 3).decode(errors="replace"),
    end=2,
)


def drawn(count: int, tokens: int, wide: int, seed: int) -> Seen:
    """Features that say the class by where they are large."""
    random = np.random.default_rng(seed)
    truth = np.arange(count) % len(EXPRESSIONS)
    values = random.normal(0, 1, (count, tokens, wide))
    values[np.arange(count), :, truth] += 20
    return Seen(np.arange(count), truth, values.astype(np.float16), truth, "data", "tower")


def units_for(count: int) -> ActionUnits:
    values = np.random.default_rng(5).uniform(0, 5, (count, 3)).astype(np.float32)
    values[0] = np.nan
    return ActionUnits((4, 6, 12), values, "intensity", "drawn")


def test_the_projector_learns_drawn_features_and_can_be_exported(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = create("tinyemo", 8)
    recipe = override(tinyemo_ferplus.RECIPE, ["epochs=3"])
    parts = {"train": drawn(256, 1, 1024, 0), "public_test": drawn(64, 1, 1024, 1)}
    tinyemo_ferplus.train(recipe, network, parts, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1, 2]
    assert lines[-1]["loss"] < lines[0]["loss"]
    figures = tinyemo_ferplus.measure(network, drawn(64, 1, 1024, 2))
    assert figures["nearest_word"]["accuracy"] > 0.8
    assert figures["classifier_alone"]["accuracy"] == 1.0
    _, facts = load_checkpoint(tmp_path / "best")
    for name in (
        "recipe",
        "labels",
        "protocol",
        "dataset",
        "metric",
        "preprocess",
        "calibration",
        "data",
        "commit",
    ):
        assert name in facts  # what `mien export` reads
    assert facts["select_score"] == max(line["public_accuracy"] for line in lines)


@pytest.fixture
def make_run(tmp_path: Path):
    """`make_run("name", epochs=2)`: a run of a tiny Llama on sixteen drawn faces."""
    transformers = pytest.importorskip(
        "transformers", reason="needs a language model: pip install 'mien[language]'", exc_type=ImportError
    )

    def make(name: str, units: ActionUnits | None = None, **changed) -> Run:
        settings = Settings(
            **{"pictures": 16, "batch_size": 4, "rank": 2, "epochs": 1, "lr": 2e-3, **changed}
        )
        torch.manual_seed(1)
        config = transformers.LlamaConfig(
            vocab_size=259, hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, bos_token_id=1, eos_token_id=2, pad_token_id=2, tie_word_embeddings=True,
        )  # fmt: skip
        llm = transformers.AutoModelForCausalLM.from_config(config)
        pictures = drawn(16, 4, 12, 0)
        told = records_of(pictures, "train", units, settings.seed)
        facts = {"units_sha256": "u" if units else None}
        network = network_of(settings, llm, 12)
        return Run(settings, network, LETTERS, pictures.tokens, told, tmp_path / name, facts)

    return make


def test_a_run_that_stops_goes_on_to_the_same_bits(make_run) -> None:
    units = units_for(16)
    whole, halves = make_run("whole", units), make_run("halves", units)
    whole.go()
    halves.go(most=3)
    halves = make_run("halves", units)
    halves.go()
    assert halves.step == whole.step == 4 + 3  # 16 faces of one task, 15 with units of the other
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, halves.network.state_dict()[name]), name
    assert load_checkpoint(halves.out / "last")[1]["step"] == 7
    lines = [json.loads(line) for line in (halves.out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 7]
    assert set(lines[-1]["loss"]) == {"emo_analysis", "emo_estim"}


def test_only_what_is_trained_is_kept(make_run) -> None:
    run = make_run("run")
    run.go(most=1)
    tensors, _ = load_checkpoint(run.out / "last")
    kept = {name for name in tensors if name.startswith("network.")}
    assert kept and all("projector" in name or ".down." in name or ".up." in name for name in kept)


def test_another_run_is_not_gone_on_with(make_run) -> None:
    make_run("run").go(most=1)
    with pytest.raises(CheckpointError, match="got another settings"):
        make_run("run", lr=1e-3).go()
    with pytest.raises(CheckpointError, match="got another units_sha256"):
        make_run("run", units_for(16)).go()
    more = make_run("run", epochs=2)
    more.go()
    assert more.step == 8


def test_without_units_only_the_label_is_learned_and_batches_have_one_task(make_run) -> None:
    bare, told = make_run("bare"), make_run("told", units_for(16))
    assert {task for task, _ in bare.batches(0)} == {"emo_estim"}
    for run, epoch in ((bare, 0), (told, 1)):
        made = list(run.batches(epoch))
        assert all(len(rows) == 4 for _, rows in made)
        for task in {task for task, _ in made}:
            rows = np.concatenate([rows for name, rows in made if name == task])
            assert len(set(rows.tolist())) == len(rows)
    assert all(
        0 not in rows for task, rows in told.batches(0) if task == "emo_analysis"
    )  # nothing was told of it
    with pytest.raises(OptionError, match="expected at least 64 pictures"):
        make_run("none", batch_size=64)


def test_the_figures_stand_beside_the_classifiers(make_run) -> None:
    units = units_for(16)
    run = make_run("run", units)
    tasks = ("emo_estim", "emo_analysis")
    figures, lines = expllm_small.measure(run.network, LETTERS, drawn(16, 4, 12, 0), units, tasks, 8, most=6)
    assert figures["classifier_alone"]["accuracy"] == 1.0
    for task in tasks:
        assert figures[task]["tokens"] <= 16 * 7 and figures[task]["tokens_per_s"] > 0
        assert figures[task]["no_label"] == 1.0 and figures[task]["accuracy"] == 0.0  # it knows no words yet
    assert figures["emo_analysis"]["hallucinated"] is None and figures["emo_analysis"]["recall"] == 0
    assert len(lines) == 16 and set(lines[0]) == {"row", "truth", *tasks}
