from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.datasets.dataset import DATASETS
from mien.datasets.protocol import Protocol, load_protocol
from mien.engine.checkpoint import load_checkpoint
from mien.engine.export import export
from mien.engine.network import preprocess_of
from mien.engine.pictures import Pictures
from mien.engine.recipe import RECIPES, Recipe, Schedule, Views
from mien.engine.train import train
from mien.engine.views import batches
from mien.errors import CheckpointError, DataError, OptionError
from mien.recipes import micro_loso, motion_maps
from mien.recipes.micro_loso import read_maps, rows_of, run_system, train_fold
from mien.recipes.micro_report import measure_folder, peeked, write_report
from mien.transforms.augment import jittered_crops


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("maps")
    DATASETS["htnet_micro"].look_alike(root, per_class=1)
    return root


@pytest.fixture(scope="module")
def maps(root: Path) -> tuple[Pictures, Protocol]:
    return read_maps(root, load_protocol("htnet_micro_3"), own=True)


def quick(**changes: object) -> Recipe:
    recipe = RECIPES["htnet_narrow_htnet_micro"]
    return dataclasses.replace(recipe, **{"options": {"width": 12}, "epochs": 3, "batch_size": 12, **changes})


def test_twelve_people_are_twelve_folds_and_each_is_tested_once(maps: tuple[Pictures, Protocol]) -> None:
    pictures, protocol = maps
    assert protocol.folds == 12 and len(pictures) == 36
    tested = np.concatenate([rows_of(protocol, pictures, "test", fold) for fold in range(12)])
    assert sorted(tested.tolist()) == list(range(36))


def test_people_must_be_as_many_as_folds(root: Path) -> None:
    protocol = dataclasses.replace(load_protocol("htnet_micro_3"), splits={})
    with pytest.raises(DataError, match="expected 68 people, one a fold of 'htnet_micro_3', got 12"):
        read_maps(root, protocol)


def test_a_fold_never_learns_from_the_person_it_tests(
    maps: tuple[Pictures, Protocol], monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures, protocol = maps
    seen: list[tuple[str, ...]] = []
    whole = micro_loso.Fold.__init__

    def watch(self, recipe, protocol, train, select, tested):
        seen.extend([train.subjects, select.subjects, tested.subjects])
        whole(self, recipe, protocol, train, select, tested)

    monkeypatch.setattr(micro_loso.Fold, "__init__", watch)
    for keep in ("last", "best"):
        seen.clear()
        train_fold(quick(keep=keep), protocol, pictures, 5)
        taught, selecting, tested = map(set, seen)
        assert len(tested) == 1 and not tested & (taught | selecting)
        assert (selecting <= taught) == (keep == "last")  # nothing is chosen then, so they teach


def test_the_last_epoch_or_the_one_that_inner_people_choose(maps: tuple[Pictures, Protocol]) -> None:
    pictures, protocol = maps
    last = train_fold(quick(keep="last"), protocol, pictures, 0)
    assert last["epoch"] == 3 and len(last["by_epoch"]) == 3
    assert np.argmax(last["scores"], 1).tolist() == last["by_epoch"][-1]
    best = train_fold(quick(keep="best"), protocol, pictures, 0)
    assert best["by_epoch"][best["epoch"] - 1] == np.argmax(best["scores"], 1).tolist()
    again = train_fold(quick(keep="last"), protocol, pictures, 0)
    assert again == last


def test_a_run_goes_on_and_the_report_says_what_is_whole(
    maps: tuple[Pictures, Protocol], tmp_path: Path
) -> None:
    pictures, protocol = maps
    run_system("pca_linear", None, protocol, pictures, 0, tmp_path, range(12), quiet=True)
    path = run_system("flow_kernel", None, protocol, pictures, 0, tmp_path, range(5), quiet=True)
    found = measure_folder(tmp_path, pictures, protocol)["systems"]
    assert found["flow_kernel"]["unfinished"][0]["folds"] == 5 and not found["flow_kernel"]["runs"]
    path.write_text(path.read_text()[:-20])  # as after a kill in the middle of a line
    before = path.read_text().splitlines()[:5]
    run_system("flow_kernel", None, protocol, pictures, 0, tmp_path, quiet=True)
    lines = path.read_text().splitlines()
    assert lines[:5] == before
    assert sorted(json.loads(line)["fold"] for line in lines[1:]) == list(range(12))
    page = write_report(tmp_path, pictures, protocol)
    kernel = json.loads((tmp_path / "micro.json").read_text())["systems"]["flow_kernel"]
    assert kernel["mean"]["composite"]["uf1"] > 0.9  # drawn classes are plain
    assert set(kernel["mean"]) == {"composite", "casme2", "samm", "smic"}
    assert kernel["over_baseline"]["uf1"]["low"] <= kernel["over_baseline"]["uf1"]["high"]
    assert "| flow_kernel | 0 |" in page and "## Selected on the tested person" not in page
    assert page.count("| no epochs |") == 2


def test_choosing_on_the_person_left_out_is_measured_and_marked(
    maps: tuple[Pictures, Protocol], tmp_path: Path
) -> None:
    pictures, protocol = maps
    run_system("small", quick(), protocol, pictures, 1, tmp_path, quiet=True)
    page = write_report(tmp_path, pictures, protocol)
    small = measure_folder(tmp_path, pictures, protocol)["systems"]["small"]
    run, looked = small["runs"][0], small["mean_chosen_on_the_test_person"]["composite"]
    assert looked["uar"] >= run["figures"]["composite"]["uar"]
    (head,) = (line for line in page.splitlines() if line.startswith("| system | seeds |"))
    assert head.endswith("| selected on the tested person: not a result |")
    (row,) = (line for line in page.splitlines() if line.startswith("| small | 1 |"))
    assert head.count("|") == row.count("|") and f"| {looked['uf1']:.3f} (" in row
    assert "## Selected on the tested person: not a result" in page and "Reported by the authors" in page
    with pytest.raises(CheckpointError, match="another recipe"):
        run_system("small", quick(batch_size=6), protocol, pictures, 1, tmp_path, quiet=True)


def test_a_fold_has_no_rule_that_stops_it_by_its_score(maps: tuple[Pictures, Protocol]) -> None:
    pictures, protocol = maps
    for other in ({"patience": 2, "keep": "best"}, {"schedule": Schedule("plateau")}):
        with pytest.raises(OptionError, match="expected no patience and no schedule 'plateau'"):
            train_fold(quick(**other), protocol, pictures, 0)


def test_the_first_best_epoch_of_each_person_is_taken() -> None:
    folds = [
        {"rows": [0, 2], "by_epoch": [[1, 1], [0, 1], [0, 2], [0, 2]]},
        {"rows": [1], "by_epoch": [[2], [1], [0], [1]]},
    ]
    assert peeked(folds, np.array([0, 1, 2])).tolist() == [0, 1, 2]
    assert peeked([{"rows": [0]}], np.array([0])) is None


def test_motion_and_faces_are_not_taken_for_each_other(root: Path, tmp_path: Path) -> None:
    faces = dataclasses.replace(RECIPES["htnet_narrow_htnet_micro"], method="mobile_expression")
    with pytest.raises(OptionError, match="expected pictures of faces for the method 'mobile_expression'"):
        train(faces, root, tmp_path, check=False, quiet=True)
    turned = dataclasses.replace(RECIPES["htnet_narrow_htnet_micro"], views=Views())
    with pytest.raises(OptionError, match=r"expected views\.rotate_rad of 0 for motion pictures"):
        train(turned, root, tmp_path, check=False, quiet=True)


def test_the_training_command_takes_motion_pictures_too(root: Path, tmp_path: Path) -> None:
    run = train(quick(), root, tmp_path, check=False, quiet=True)
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert len(log) == 3
    assert load_checkpoint(run / "best")[1]["epoch"] == 2, "the last one, whatever its score"
    with pytest.raises(OptionError, match="got 'htnet_narrow' for motion pictures, which cannot be exported"):
        export(run, tmp_path / "htnet.onnx")
    assert not (tmp_path / "htnet.onnx").exists()


def test_a_mirror_turns_sideways_motion(maps: tuple[Pictures, Protocol]) -> None:
    pictures, _ = maps
    images, matrices = pictures.images[:8], pictures.matrices[:8]
    plain = jittered_crops(images, matrices, 28, None)
    torch.testing.assert_close(plain, images.float(), atol=1e-2, rtol=0)
    random = torch.Generator().manual_seed(0)
    still = {"rotate_rad": 0.0, "zoom": 0.0, "shift": 0.0, "shear": 0.0}
    moved = jittered_crops(images, matrices, 28, random, sideways=(0,), **still)
    turned = images.float().flip(3)
    turned[:, 0] = 255 - turned[:, 0]
    kinds = {"plain" if torch.allclose(one, a, atol=1e-2) else "turned" if torch.allclose(one, b, atol=1e-2) else "other"
             for one, a, b in zip(moved, images.float(), turned, strict=True)}  # fmt: skip
    assert kinds == {"plain", "turned"}


def test_batches_of_motion_are_as_the_contract_says(maps: tuple[Pictures, Protocol]) -> None:
    recipe = quick()
    batch = next(batches(maps[0], recipe, preprocess_of(recipe), 0))
    assert batch.images.shape == (12, 3, 28, 28)
    assert batch.images.min() == 0 and batch.images.max() == 255


def test_maps_of_drawn_clips(tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="optical flow needs OpenCV: pip install 'mien[flow]'")
    DATASETS["megc2019"].look_alike(tmp_path / "clips", per_class=1)
    count, failures = motion_maps.make("megc2019", tmp_path / "clips", tmp_path / "maps", quiet=True)
    rows = DATASETS["megc2019"].rows(tmp_path / "clips")
    assert count + len(failures) == len(rows) and count > len(rows) / 2
    made = DATASETS["megc2019_maps"].rows(tmp_path / "maps")
    known = {row.id: (row.label, row.subject) for row in rows}
    assert all(known[row.id] == (row.label, row.subject) for row in made)
    assert DATASETS["megc2019_maps"].reader(tmp_path / "maps", made)(0).shape == (28, 28, 3)
    with pytest.raises(OptionError, match="expected a set of micro-expression clips, got 'jaffe'"):
        motion_maps.make("jaffe", tmp_path, tmp_path)
    with pytest.raises(OptionError, match="expected 1 or 10 steps, got 3"):
        motion_maps.make("smic", tmp_path, tmp_path, steps=3)
