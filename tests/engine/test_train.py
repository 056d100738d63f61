from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mien.datasets.dataset import DATASETS
from mien.datasets.protocol import load_protocol
from mien.engine import checkpoint
from mien.engine.checkpoint import load_checkpoint, load_network, part
from mien.engine.distributed import Group
from mien.engine.journal import read_log
from mien.engine.pictures import Pictures
from mien.engine.recipe import override
from mien.engine.train import Run, _pieces, train
from mien.engine.views import batches, epoch_order
from mien.errors import CheckpointError, DataError, OptionError, TrainingError
from mien.methods.method import create
from mien.methods.task import Batch

MakeRun = Callable[..., Run]


class KilledError(Exception):
    """Stands for the kill of a process."""


def weights(run: Run) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in run.measured.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


def test_it_learns_and_leaves_its_files(make_run: MakeRun) -> None:
    run = make_run(settings=["epochs=4"])
    run.go()
    log = read_log(run.out)
    assert [line["epoch"] for line in log] == [0, 1, 2, 3]
    assert log[-1]["loss"] < 0.7 * log[0]["loss"]
    assert {path.name for path in run.out.iterdir()} == {
        "last", "best", "log.jsonl", "curves.csv", "curves.png"
    }  # fmt: skip
    tensors, facts = load_checkpoint(run.out / "best")
    assert facts["labels"] == ["neutral", "happy", "sad"]
    assert facts["select_score"] == max(line["select_score"] for line in log) or facts[
        "select_score"
    ] == pytest.approx(max(line["select_score"] for line in log), abs=1e-4)
    load_network(create("mobile_expression", 3), tensors, "best")
    modes = {path.stat().st_mode for path in (run.out / "best").iterdir()}
    assert len(modes) == 1, "who may read the facts may read the tensors"


def test_pictures_that_were_left_out_are_told(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Run, "selection", lambda self: (0.5, 1.0))
    monkeypatch.setattr(Run, "_epoch", lambda self: 1.0)
    run = make_run(settings=["epochs=1"])
    run.pictures = replace(run.pictures, failures=("7.png is damaged",))
    run.held_out = replace(run.held_out, failures=tuple(f"photo {n}: no face found" for n in range(5)))
    run.quiet = False
    run.go()
    said = capsys.readouterr().out
    assert f"train: 1 of {len(run.pictures) + 1} left out. First: 7.png is damaged" in said
    assert f"select: 5 of {len(run.held_out) + 5} left out" in said and "photo 3" not in said
    failures = load_checkpoint(run.out / "last")[1]["failures"]
    assert failures["train"] == ["7.png is damaged"] and len(failures["select"]) == 5


@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["ema=0.9", "optim.sam_rho=0.05", "views.mixup=0.4"],
        ["optim.name=sgd", "optim.accumulate=3", "targets.balanced=true", "targets.smoothing=0.1"],
    ],
    ids=["plain", "ema-sam-mixup", "sgd-accumulate-balanced"],
)
def test_a_killed_run_goes_on_bit_for_bit(
    make_run: MakeRun, settings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_run("whole", settings)
    whole.go()

    monkeypatch.setattr("mien.engine.train.SAVE_EVERY_S", 0.0)
    killed = make_run("killed", settings)
    plain_step, taken = killed.step, []

    def step(batch: object) -> float:
        if len(taken) == 6:  # in the middle of the second epoch of four batches
            raise KilledError
        taken.append(1)
        return plain_step(batch)  # type: ignore[arg-type]

    monkeypatch.setattr(killed, "step", step)
    with pytest.raises(KilledError):
        killed.go()
    again = make_run("killed", settings)
    again.go()
    assert same(weights(whole), weights(again))
    one, other = (
        [{**line, "seconds": 0, "pictures_per_s": 0} for line in read_log(run.out)] for run in (whole, again)
    )
    assert one == other


def test_a_kill_between_the_log_and_the_checkpoint_loses_no_line(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(self: Run) -> None:
        raise KilledError

    for epochs, lines in ((1, [0]), (2, [0, 1])):
        with monkeypatch.context() as patched:
            patched.setattr(Run, "_save_last", kill)
            with pytest.raises(KilledError):
                make_run(settings=[f"epochs={epochs}"]).go()
        run = make_run(settings=[f"epochs={epochs}"])
        with (run.out / "log.jsonl").open("a") as log:
            log.write('{"epoch": 1, "lo')  # and one that was torn
        run.go()
        assert [line["epoch"] for line in read_log(run.out)] == lines


def test_ema_leaves_whole_numbers_as_they_are(make_run: MakeRun) -> None:
    run = make_run(settings=["ema=0.9"])
    assert run.smoothed is not None
    index = torch.arange(300)
    for network in (run.network, run.smoothed.module):
        network.register_buffer("index", index.clone())
    for _ in range(3):
        run._smooth(run.smoothed)
    assert torch.equal(run.smoothed.module.index, index)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_step_at_hand_and_the_run_goes_on(
    sent: signal.Signals, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_run("whole", ["epochs=1"])
    whole.go()
    stopped = make_run("stopped", ["epochs=1"])
    plain_step = stopped.step

    def step(batch: object) -> float:
        if stopped.state["done"] == 2:
            os.kill(os.getpid(), sent)
        return plain_step(batch)  # type: ignore[arg-type]

    monkeypatch.setattr(stopped, "step", step)
    stopped.state["seconds"] = 100.0
    with pytest.raises(KeyboardInterrupt):
        stopped.go()
    assert load_checkpoint(stopped.out / "last")[1]["state"]["done"] == 3
    again = make_run("stopped", ["epochs=1"])
    again.go()
    assert same(weights(whole), weights(again))
    # What the epoch took before it was stopped counts.
    assert 100 < read_log(again.out)[0]["seconds"] < 200


def test_parts_of_a_batch_give_the_same_step(make_run: MakeRun) -> None:
    """Without batch statistics, which a part would take from fewer pictures."""
    settings = ["hold_statistics=true", "options.dropout=0", "epochs=1", "optim.name=sgd"]
    whole, parted = make_run("a", settings), make_run("b", [*settings, "optim.accumulate=4"])
    whole.go()
    parted.go()
    for one, other in zip(weights(whole).values(), weights(parted).values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("rows", "parts", "sizes"),
    [(8, 5, [2, 2, 2, 1, 1]), (9, 4, [3, 2, 2, 2]), (8, 4, [2] * 4), (2, 3, [1, 1])],
)
def test_a_batch_is_cut_into_as_many_parts_as_asked(rows: int, parts: int, sizes: list[int]) -> None:
    batch = Batch(torch.zeros(rows, 3, 4, 4), torch.zeros(rows, 2))
    assert [len(piece.images) for piece in _pieces(batch, parts, torch.device("cpu"))] == sizes


def test_a_batch_of_fewer_pictures_than_processes_is_refused(make_run: MakeRun) -> None:
    one = make_run(settings=["batch_size=2"])
    with pytest.raises(
        OptionError, match=r"expected a batch of at least 3 pictures.*got 2\. Start fewer processes"
    ):
        Run(one.recipe, one.protocol, one.pictures, one.held_out, one.out, Group(rank=1, world=3))


def test_another_recipe_or_other_data_are_not_gone_on_with(make_run: MakeRun) -> None:
    make_run(settings=["epochs=1"]).go()
    with pytest.raises(
        CheckpointError, match=r"whose recipe\.seed is 20261121, got 3\. Choose another --out"
    ):
        make_run(settings=["epochs=1", "seed=3"]).go()
    with pytest.raises(CheckpointError, match=r"whose recipe\.optim\.lr is 0\.001, got 0\.1\."):
        make_run(settings=["epochs=1", "optim.lr=0.1"]).go()
    longer = make_run(settings=["epochs=2"])
    longer.go()
    assert longer.state["epoch"] == 2


def test_an_edited_citation_does_not_keep_a_run_from_going_on(make_run: MakeRun) -> None:
    make_run(settings=["epochs=1"]).go()
    longer = make_run(settings=["epochs=2"])
    longer.recipe = replace(longer.recipe, source="paper, table 3", sources={"seed": "set by us"})
    longer.go()
    assert longer.state["epoch"] == 2


def test_a_run_that_has_nothing_left_to_do_says_it(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Run, "selection", lambda self: (0.5, 1.0))
    monkeypatch.setattr(Run, "_epoch", lambda self: 1.0)
    for name, settings, text in (
        ("done", [], "all 2 epochs of this run are done"),
        ("stopped", ["patience=1"], "stopped early after epoch 2, 1 looks without a better score"),
    ):
        make_run(name, settings).go()
        again = make_run(name, [*settings, *(["epochs=5"] if name == "stopped" else [])])
        again.quiet = False
        again.go()
        assert text in capsys.readouterr().out and again.state["epoch"] == 2
    with pytest.raises(CheckpointError, match=r"expected at least the 2 epochs .* has done, got 1"):
        make_run("done", ["epochs=1"]).go()


@pytest.mark.parametrize(("settings", "before"), [(["keep=last"], None), (["select_every=4"], None), ([], 0)])
def test_a_run_that_ends_sooner_than_it_was_to_has_its_best(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, settings: list[str], before: int | None
) -> None:
    scores = iter([0.7, 0.6, 0.5, 0.4])
    monkeypatch.setattr(Run, "selection", lambda self: (next(scores), 1.0))
    run = make_run(settings=[*settings, "epochs=4"])
    plain_step = run.step

    def step(batch: Batch) -> float:
        if run.state["epoch"] == 2:
            raise KilledError
        return plain_step(batch)

    monkeypatch.setattr(run, "step", step)
    with pytest.raises(KilledError):
        run.go()
    best = run.out / "best"
    assert (load_checkpoint(best)[1]["epoch"] if best.exists() else None) == before
    make_run(settings=[*settings, "epochs=2"]).go()
    assert load_checkpoint(best)[1]["epoch"] == (1 if before is None else before)


def test_the_fold_is_in_the_checkpoint_and_another_is_refused(make_run: MakeRun) -> None:
    one = make_run()
    protocol = replace(one.protocol, folds=3)

    def run(fold: int, epochs: int) -> Run:
        recipe = replace(one.recipe, epochs=epochs)
        return Run(recipe, protocol, one.pictures, one.held_out, one.out, fold=fold)

    run(1, 1).go()
    assert load_checkpoint(one.out / "best")[1]["fold"] == 1 and one.facts()["fold"] is None
    with pytest.raises(CheckpointError, match="whose fold is 1, got 2"):
        run(2, 2).go()
    path = one.out / "last" / "state.json"
    facts = json.loads(path.read_text())
    del facts["fold"]  # as an older run has it
    path.write_text(json.dumps(facts))
    run(1, 2).go()


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        (["options.bogus=1"], OptionError, r"expected options of 'mobile_expression' \(.*dropout.*bogus"),
        (["options.classes=2"], OptionError, "expected options of 'mobile_expression'"),
        (["start=nowhere"], CheckpointError, "expected start 'fresh'"),
        (["optim.layer_decay=0.5"], OptionError, "expected a network with `layers`"),
        (
            ["rule=au_cue", "rule_options.bogus=1"],
            OptionError,
            r"expected options of 'au_cue' \(.*weight.*bogus",
        ),
        (["seed=3"], CheckpointError, r"whose recipe\.seed is 20261121, got 3"),
        (["method=mobile_units"], OptionError, "expected a method for 'expression'"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_faces_are_found(
    make_run: MakeRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: list[str],
    error: type[Exception],
    text: str,
) -> None:
    DATASETS["rafdb"].look_alike(tmp_path / "data")
    recipe = replace(make_run().recipe, protocol="rafdb_basic")
    stored = {
        "recipe": recipe.to_dict(),
        "labels": list(load_protocol("rafdb_basic").labels),
        "state": {"epoch": 1},
    }
    checkpoint.save_checkpoint(tmp_path / "out" / "last", {}, stored)

    def find(*arguments: object) -> None:
        raise AssertionError("faces were looked for")

    monkeypatch.setattr("mien.engine.train.prepare", find)
    with pytest.raises(AssertionError, match="faces were looked for"):
        train(recipe, tmp_path / "data", tmp_path / "out", check=False, quiet=True)
    out = tmp_path / ("out" if "seed=3" in settings else "fresh")
    with pytest.raises(error, match=text):
        train(override(recipe, settings), tmp_path / "data", out, check=False, quiet=True)


def test_a_loss_that_is_no_number_stops_the_run_and_loses_nothing(make_run: MakeRun) -> None:
    make_run(settings=["epochs=1"]).go()
    before = load_checkpoint(make_run().out / "last")[0]
    run = make_run(settings=["epochs=2"])
    run.network.head.weight.data.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"expected a finite loss, got nan .* lower optim\.lr"):
        run.step(next(iter(batches(run.pictures, run.recipe, run.preprocess, 0))))
    assert same(before, load_checkpoint(run.out / "last")[0])


def test_a_full_disk_is_said_and_the_old_checkpoint_stays(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(settings=["epochs=1"])
    run.go()
    before = load_checkpoint(run.out / "last")[0]

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(CheckpointError, match=r"No space left on device.*checkpoint before it is whole"):
        make_run(settings=["epochs=2"]).go()
    assert same(before, load_checkpoint(run.out / "last")[0])
    assert not (run.out / "last.tmp").exists()


def test_a_checkpoint_of_another_method_or_of_fewer_classes_is_refused(make_run: MakeRun) -> None:
    run = make_run(settings=["epochs=1"])
    run.go()
    tensors, _ = load_checkpoint(run.out / "best")
    with pytest.raises(CheckpointError, match=r"head\.weight of shape \(8, 1024\).*got \(3, 1024\).*classes"):
        load_network(create("mobile_expression", 8), tensors, "best")
    with pytest.raises(CheckpointError, match="got those of another method: 2 are missing"):
        load_network(torch.nn.Linear(3, 3), tensors, "best")


def test_the_last_layer_of_a_run_for_other_classes_stays_fresh(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run("first", ["epochs=1"]).go()
    one = make_run("plain")
    stored = load_checkpoint(one.out.parent / "first" / "best")[0]
    for labels, taken in ((("neutral", "happy", "sad"), True), (("neutral", "sad", "happy"), False)):
        protocol = replace(one.protocol, labels=labels)
        recipe = replace(one.recipe, start=str(one.out.parent / "first"), epochs=1)
        run = Run(recipe, protocol, one.pictures, one.held_out, one.out.parent / labels[1], quiet=False)
        assert run.started is not None
        assert torch.equal(run.network.head.weight, stored["head.weight"]) == taken
        assert torch.equal(run.network.trunk[0].conv.weight, stored["trunk.0.conv.weight"])
        assert run.started.get("other_labels") == (None if taken else ["neutral", "happy", "sad"])
        assert run.started["fresh"] == ([] if taken else ["head.bias", "head.weight"])
    run.go()
    assert "its last layer was for neutral, happy, sad; ours is fresh" in capsys.readouterr().out


def test_a_damaged_checkpoint_is_said(make_run: MakeRun) -> None:
    run = make_run(settings=["epochs=1"])
    run.go()
    state = run.out / "last" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="expected a whole checkpoint"):
        make_run(settings=["epochs=2"]).go()


def test_early_stopping_looks_at_the_selection_split_only(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.5, 0.6, 0.6, 0.55, 0.9])
    monkeypatch.setattr(Run, "selection", lambda self: (next(scores), 1.0))
    run = make_run(settings=["epochs=9", "patience=2"])
    run.go()
    assert [line["select_score"] for line in read_log(run.out)] == [0.5, 0.6, 0.6, 0.55]
    assert load_checkpoint(run.out / "best")[1]["epoch"] == 1


def run_that_learns_nothing(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, settings: list[str]
) -> tuple[Run, list[int]]:
    """A run whose score never changes, at its end, and how often the rate had dropped before each epoch."""
    monkeypatch.setattr(Run, "selection", lambda self: (0.5, 1.0))
    drops: list[int] = []
    monkeypatch.setattr(Run, "_epoch", lambda self: drops.append(self.state["drops"]) or 1.0)
    run = make_run(settings=settings)
    run.go()
    return run, drops


def test_plateau_multiplies_after_patience(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience 5: the sixth epoch without a better score acts, so the seventh after the best is slower."""
    settings = ["epochs=9", "schedule.name=plateau", "schedule.gamma=0.75", "schedule.patience=5"]
    run, drops = run_that_learns_nothing(make_run, monkeypatch, settings)
    assert run.state["drops"] == 1 and run.state["since_drop"] == 2 and run.state["since_best"] == 8
    assert drops == [0] * 7 + [1] * 2


def test_plateau_and_early_stopping_work_together(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rate drops after two looks without a better score, and the run stops after four."""
    settings = ["epochs=9", "patience=4", "schedule.name=plateau", "schedule.patience=1"]
    run, drops = run_that_learns_nothing(make_run, monkeypatch, settings)
    assert run.state["stopped"] and drops == [0, 0, 0, 1, 1]


def test_an_older_checkpoint_of_a_plateau_is_gone_on_with(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "selection", lambda self: (0.5, 1.0))
    monkeypatch.setattr(Run, "_epoch", lambda self: 1.0)
    settings = ["schedule.name=plateau", "schedule.patience=2"]
    make_run("old", ["epochs=3", *settings]).go()
    path = make_run("old").out / "last" / "state.json"
    facts = json.loads(path.read_text())
    del facts["state"]["since_drop"]
    path.write_text(json.dumps(facts))
    longer = make_run("old", ["epochs=4", *settings])
    longer.go()
    assert longer.state["drops"] == 1 and longer.state["since_drop"] == 0


def test_balanced_order_draws_classes_equally(make_run: MakeRun) -> None:
    run = make_run()
    rare = torch.zeros_like(run.pictures.targets)
    rare[:, 0] = 1
    rare[:3] = torch.tensor([0.0, 1.0, 0.0])
    pictures = replace(run.pictures, targets=rare)
    drawn = torch.cat([rare[epoch_order(pictures, True, 0, epoch)].argmax(1) for epoch in range(40)])
    assert (drawn == 1).float().mean().item() == pytest.approx(0.5, abs=0.06)
    assert sorted(epoch_order(pictures, False, 0, 0).tolist()) == list(range(33))


def test_mixup_mixes_further_labels_too(make_run: MakeRun) -> None:
    """Targets tell the share and the partner; quantities follow them, and classes that differ leave none."""
    run = make_run(settings=["views.mixup=0.4"])
    truth = run.pictures.truth
    affect = torch.stack([truth.float(), torch.full((len(truth),), torch.nan)], 1)
    extras = {"valence_arousal": affect, "gender": truth.clone()}
    batch = next(iter(batches(replace(run.pictures, extras=extras), run.recipe, run.preprocess, 0)))
    labels = torch.arange(3).float()
    torch.testing.assert_close(batch.extras["valence_arousal"][:, 0], batch.targets @ labels)
    assert batch.extras["valence_arousal"][:, 1].isnan().all()
    pure = batch.targets.amax(1) > 1 - 1e-6
    assert pure.any() and not pure.all()
    assert torch.equal(batch.extras["gender"], torch.where(pure, batch.targets.argmax(1), -1))


def test_smoothing_and_hard_targets(make_run: MakeRun) -> None:
    run = make_run(settings=["targets.smoothing=0.3"])
    batch = next(iter(batches(run.pictures, run.recipe, run.preprocess, 0)))
    assert batch.targets.max().item() == pytest.approx(0.8) and batch.targets.min().item() == pytest.approx(
        0.1
    )
    soft = replace(run.pictures, targets=torch.full((33, 3), 1 / 3))
    hard = override(run.recipe, ["targets.soft=false", "targets.smoothing=0"])
    assert set(next(iter(batches(soft, hard, run.preprocess, 0))).targets.unique().tolist()) == {0.0, 1.0}


def test_class_weights_count_what_is_learned(make_run: MakeRun) -> None:
    """Of votes, the votes; of single labels, the labels."""
    run = make_run(settings=["targets.weighted=true"])
    votes = torch.tensor([[0.6, 0.4, 0.0]]).repeat(33, 1)
    votes[:11] = torch.tensor([0.0, 1.0, 0.0])
    pictures = replace(run.pictures, targets=votes, truth=votes.argmax(1))
    for soft in ("true", "false"):
        recipe = override(run.recipe, [f"targets.soft={soft}"])
        weights = next(iter(batches(pictures, recipe, run.preprocess, 0))).class_weights
        counts = votes.sum(0) if soft == "true" else torch.tensor([22.0, 11.0, 0.0])
        assert weights is not None
        torch.testing.assert_close(weights, torch.where(counts > 0, counts.max() / counts, 0))


TWO = """
import sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[2])
torch.set_num_threads(1)
from conftest import LABELS, drawn_pictures
from mien.datasets.protocol import Protocol
from mien.engine.distributed import process_group
from mien.engine.pictures import Pictures
from mien.engine.views import batches
from mien.engine.recipe import Recipe, override
from mien.engine.train import Run
from mien.engine.optim import Sam
from mien.errors import TrainingError
from safetensors.torch import save_file

protocol = Protocol("drawn", "drawn", LABELS, "train", "select", "test", "accuracy", 1, "single", False, {}, "")
recipe = override(Recipe("drawn", "mobile_expression", "drawn", size_px=32, batch_size=int(sys.argv[3])), [
    "hold_statistics=true", "options.dropout=0", "views.mirror=false", "views.rotate_rad=0", "views.zoom=0",
    "views.shift=0", "views.shear=0"])
with process_group("cpu") as group:
    run = Run(recipe, protocol, drawn_pictures(33, 0), drawn_pictures(12, 1), Path(sys.argv[1]), group)
    run.group.share(run.network)
    run.network.eval()
    batch = next(iter(batches(run.pictures, recipe, run.preprocess, 0, 0, group.rank, group.world)))
    loss = torch.tensor([run.gradients(batch)])
    if group.leads:
        gradients = {n: p.grad.clone().contiguous() for n, p in run.network.named_parameters()}
        save_file({"loss": loss, **gradients}, sys.argv[1] + ".safetensors")
    assert group.any(group.rank == group.world - 1) and not group.any(False)
    dying = group.world == 2 and sys.argv[3] == "5"
    if dying:  # SAM's second pass is for all processes or for none
        run.sam = Sam(run.trained, 0.05)
        if not group.leads:
            run.task.loss = lambda piece: run.task.logits(piece.images).sum() * float("nan")
        try:
            run.step(batch)
        except TrainingError:
            dying = False
    assert not dying
    if group.world == 2 and sys.argv[3] == "8":  # Ctrl-C in one of them stops both after the same step
        if not group.leads:
            run.stop.set()
        try:
            run._epoch()
        except KeyboardInterrupt:
            dying = True
        assert dying and run.state["done"] == 1 and (run.out / "last" / "state.json").is_file()
"""


@pytest.mark.slow
@pytest.mark.parametrize("rows", [8, 5])
def test_two_processes_have_the_gradients_and_the_loss_of_one(tmp_path: Path, rows: int) -> None:
    """Also of a batch that cannot be divided evenly; and Ctrl-C, or a loss that is no number, in one stops both."""
    from safetensors.torch import load_file

    script = tmp_path / "two.py"
    script.write_text(TWO)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for count in (1, 2):
        command = [
            sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}",
            str(script), str(tmp_path / f"run{count}"), str(Path(__file__).parent), str(rows),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
    one, two = (load_file(tmp_path / f"run{count}.safetensors") for count in (1, 2))
    assert max(float(one[name].abs().max()) for name in one if name != "loss") > 1e-3
    for name, gradient in one.items():
        torch.testing.assert_close(gradient, two[name], rtol=1e-4, atol=1e-6, msg=name)


def test_pictures_without_any_label_are_refused(
    make_run: MakeRun, pictures: tuple[Pictures, Pictures]
) -> None:
    empty = replace(pictures[0], targets=torch.zeros(33, 3))
    whole = make_run()
    with pytest.raises(DataError, match="expected pictures with a class to learn from, got none of 33"):
        Run(whole.recipe, whole.protocol, empty, pictures[1], whole.out)


def test_the_log_is_json(make_run: MakeRun) -> None:
    run = make_run(settings=["epochs=1"])
    run.go()
    line = json.loads((run.out / "log.jsonl").read_text())
    assert line["metric"] == "accuracy" and 0 <= line["select_score"] <= 1 and line["lr"] > 0
    assert part({"network.a": torch.ones(1), "b": torch.ones(1)}, "network.").keys() == {"a"}
