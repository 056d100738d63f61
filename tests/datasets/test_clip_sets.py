"""DFEW, FERV39k, MAFW, AFEW and the clips of CK+: their lists, folds and counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien.datasets import dfew, ferv39k, mafw
from mien.datasets.dataset import DATASETS
from mien.datasets.protocol import load_protocol
from mien.errors import DataError

FOLDED = ("dfew_7", "mafw_11")


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    roots = {name: tmp_path_factory.mktemp(name) for name in ("dfew", "ferv39k", "mafw", "afew")}
    for name, root in roots.items():
        DATASETS[name].look_alike(root, per_class=1)
    return roots


def test_the_sums_of_the_lists() -> None:
    assert sum(dfew.FOLDS.values()) == 11_697 and sum(dfew.FIRST.values()) == dfew.FOLDS["set_1"]
    assert sum(ferv39k.TRAIN.values()) == 31_088 and sum(ferv39k.TEST.values()) == 7_847
    assert sum(mafw.FOLDS.values()) == 9_172
    for train, fold in zip((9356, 9356, 9357, 9358, 9361), dfew.FOLDS.values(), strict=True):
        assert train + fold == 11_697
    for train, fold in zip((7333, 7335, 7339, 7340, 7341), mafw.FOLDS.values(), strict=True):
        assert train + fold == 9_172
    facts = load_protocol("dfew_7").splits["all"]
    assert facts.pictures == 11_697 and sum((facts.per_class or {}).values()) == 11_697


@pytest.mark.parametrize("name", FOLDED)
def test_every_clip_is_tested_once_and_never_learned_then(name: str, roots: dict[str, Path]) -> None:
    protocol = load_protocol(name)
    data, root = DATASETS[protocol.dataset], roots[protocol.dataset]
    whole = {row.id for row in data.rows(root)}
    tested: list[str] = []
    for fold in range(5):
        parts = {
            split: data.samples(root, protocol, split, fold, False) for split in ("train", "select", "test")
        }
        ids = [set(part.ids) for part in parts.values()]
        assert set.union(*ids) == whole and sum(map(len, ids)) == len(whole)
        assert {row.split for row in data.rows(root) if row.id in ids[2]} == {f"set_{fold + 1}"}
        assert all(parts["select"].counts.values()), "every class selects"
        tested += parts["test"].ids
    assert len(tested) == len(set(tested)) == len(whole)
    with pytest.raises(DataError, match="expected a fold from 0 to 4, got 5"):
        data.samples(root, protocol, "test", 5, False)


def test_dfew_names_and_codes(roots: dict[str, Path]) -> None:
    rows = DATASETS["dfew"].rows(roots["dfew"])
    assert [row.label for row in rows[:7]] == [
        "happy",
        "sad",
        "neutral",
        "angry",
        "surprise",
        "disgust",
        "fear",
    ]
    assert rows[0].id == "00001"


def test_a_dfew_label_of_0_is_refused(tmp_path: Path) -> None:
    DATASETS["dfew"].look_alike(tmp_path, per_class=1)
    listed = tmp_path / "EmoLabel_DataSplit" / "test(single-labeled)" / "set_2.csv"
    listed.write_text(listed.read_text().replace(",1\n", ",0\n"))
    with pytest.raises(DataError, match=r"set_2\.csv, line 2: expected one of the codes 1 \(happy\)"):
        DATASETS["dfew"].rows(tmp_path)


def test_a_ferv39k_label_that_is_not_its_folder_is_refused(roots: dict[str, Path], tmp_path: Path) -> None:
    data = DATASETS["ferv39k"]
    data.look_alike(tmp_path, per_class=1)
    listed = tmp_path / "4_setups" / "All_scenes" / "test_All.csv"
    lines = listed.read_text().splitlines()
    as_numbers = [line.rsplit(" ", 1)[0] + f" {number}" for number, line in enumerate(lines)]
    listed.write_text("\n".join(as_numbers))
    assert data.rows(tmp_path) == data.rows(roots["ferv39k"])
    listed.write_text(lines[0].replace(" Angry", " Happy"))
    with pytest.raises(DataError, match="expected one class in the path and beside it"):
        data.rows(tmp_path)


def test_mafw_has_three_classes_of_its_own(roots: dict[str, Path]) -> None:
    protocol = load_protocol("mafw_11")
    test = DATASETS["mafw"].samples(roots["mafw"], protocol, "test", 0, False)
    assert protocol.labels[8:] == ("anxiety", "helplessness", "disappointment")
    assert set(test.counts.values()) == {1}
    clip = test.clip(0)  # type: ignore[misc]
    assert clip.count == 6 and clip.read([5])[0].shape == (122, 160, 3)


def test_a_list_with_an_unknown_clip_is_refused(tmp_path: Path) -> None:
    DATASETS["mafw"].look_alike(tmp_path, per_class=1)
    (tmp_path / "Train & Test Set/single/no_caption/set_3/test.txt").write_text("99999.mp4\n")
    with pytest.raises(DataError, match=r"expected a clip of single_label\.txt, got '99999\.mp4'"):
        DATASETS["mafw"].rows(tmp_path)


@pytest.mark.data
def test_the_three_frames_of_ckplus_are_those_of_the_pictures(data_folder: Path) -> None:
    root = data_folder / "ckplus48_au"
    if not root.is_dir():
        pytest.skip("CK+ is not in the data folder (MIEN_DATA)")
    clips = DATASETS["ckplus48_clips"].samples(root, "ckplus48_clips_7", "all")
    pictures = DATASETS["ckplus48"].samples(root, "ckplus48_7", "all")
    assert len(clips) == 327 and len(set(clips.subjects or ())) == 118
    frames = [frame for row in range(327) for frame in clips.clip(row).read([0, 1, 2])]  # type: ignore[misc]
    order = np.argsort(pictures.ids)
    assert all(np.array_equal(frame, pictures.read(row)) for frame, row in zip(frames, order, strict=True))
    for fold in range(10):
        tested = DATASETS["ckplus48_clips"].samples(root, "ckplus48_clips_7", "test", fold)
        units = DATASETS["ckplus48"].samples(root, "ckplus48_au", "test", fold)
        assert set(tested.subjects or ()) == set(units.subjects or ()), "the folds of ckplus48_au"
