"""What the base gives to every data set, on one made of a list in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.datasets.dataset import Dataset, Reader, Row, named_classes
from mien.datasets.protocol import (
    Protocol,
    SplitFacts,
    freeze,
    held_out,
    ids_hash,
    load_protocol,
    name_share,
    protocol_from,
    protocol_text,
)
from mien.errors import DataError, ProtocolError, UnknownNameError


class Listed(Dataset):
    name = "listed"
    title = licence = apply_at = layout = "x"
    framing = "crop"
    splits = ("train", "val", "test")
    expected_source = "counted here"

    def __init__(self, listed: list[Row], expected: dict[str, dict[str, int]] | None = None) -> None:
        self.listed, self.expected = listed, expected or {}

    def rows(self, root: Path) -> list[Row]:
        return self.listed

    def reader(self, root: Path, rows: Sequence[Row]) -> Reader:
        return lambda index: np.full((4, 4), int(rows[index].id), np.uint8)

    def look_alike(self, root: Path, per_class: int = 2, seed: int = 0) -> None:
        raise NotImplementedError


PROTOCOL = Protocol(
    "x", "listed", ("happy", "sad"), "train", "val", "test", "accuracy", 1, "single", True, {}, "here"
)
PLACES = [("train", "happy"), ("train", "sad"), ("val", "sad"), ("val", "happy"), ("test", "happy")]
ROWS = [Row(str(number), split, label, f"p{number}") for number, (split, label) in enumerate(PLACES)]
ROOT = Path()


def test_freeze_counts_and_the_frozen_protocol_is_held_to() -> None:
    frozen = freeze(PROTOCOL, Listed(ROWS), ROOT)
    assert frozen.splits == {
        "train": SplitFacts(2, {"happy": 1, "sad": 1}, ids_hash(["0", "1"]), "counted here"),
        "val": SplitFacts(2, {"happy": 1, "sad": 1}, ids_hash(["2", "3"]), "counted here"),
        "test": SplitFacts(1, {"happy": 1, "sad": 0}, ids_hash(["4"]), "counted here"),
    }
    assert len(Listed(ROWS).samples(ROOT, frozen, "val")) == 2
    relabelled = [*ROWS[:2], replace(ROWS[2], label="happy"), replace(ROWS[3], label="sad"), ROWS[4]]
    assert len(Listed(relabelled).samples(ROOT, frozen, "val")) == 2
    for wrong, message in (
        (ROWS[:3] + ROWS[4:], "expected 2 pictures in 'val' of 'x'"),
        ([*ROWS[:3], replace(ROWS[3], label="sad"), ROWS[4]], "expected 1 pictures of 'happy' in 'val'"),
        ([*ROWS[:3], replace(ROWS[3], id="9"), ROWS[4]], "expected the frozen ids of 'val'"),
        ([*ROWS[:2], ROWS[3], ROWS[2], ROWS[4]], "or another order"),
    ):
        with pytest.raises(DataError, match=message):
            Listed(wrong).samples(ROOT, frozen, "val")
        assert len(Listed(wrong).samples(ROOT, frozen, "val", check=False))


def test_a_second_hash_is_right_as_well() -> None:
    facts = SplitFacts(1, None, ids_hash(["other"]), "here", [ids_hash(["4"])])
    assert Listed(ROWS).samples(ROOT, replace(PROTOCOL, splits={"test": facts}), "test").ids == ("4",)
    stored = protocol_text(replace(PROTOCOL, splits={"test": facts}))
    assert "ids_sha256_also" in stored
    assert "ids_sha256_also" not in protocol_text(freeze(PROTOCOL, Listed(ROWS), ROOT))


def test_freeze_refuses_what_leaks_or_cannot_be_learned() -> None:
    with pytest.raises(ProtocolError, match=r"no person in two splits .* 1 in both 'train' and 'test'.*'p0'"):
        freeze(PROTOCOL, Listed([*ROWS[:4], replace(ROWS[4], subject="p0")]), ROOT)
    with pytest.raises(ProtocolError, match="no picture in two splits"):
        freeze(PROTOCOL, Listed([*ROWS, Row("0", "test", "sad", "q")]), ROOT)
    with pytest.raises(ProtocolError, match=r"pictures of every class in 'train' .* none of sad"):
        freeze(PROTOCOL, Listed([ROWS[0], *ROWS[2:]]), ROOT)


def test_folds_are_whole_people_and_all_of_them_are_frozen() -> None:
    rows = [
        Row(str(number), "all", "sad" if number % 2 else "happy", f"p{number // 4}") for number in range(20)
    ]
    drawn = replace(PROTOCOL, folds=5)
    frozen = freeze(drawn, Listed(rows), ROOT)
    assert frozen.splits["all"].pictures == 20
    for fold in range(5):
        parts = [Listed(rows).samples(ROOT, frozen, split, fold) for split in ("train", "val", "test")]
        assert [len(part) for part in parts] == [12, 4, 4]
        assert set(parts[2].subjects) == {f"p{fold}"}
        assert set(parts[1].subjects) == {f"p{(fold + 1) % 5}"}
    with pytest.raises(DataError, match="expected 20 pictures in 'all'"):
        Listed(rows[1:]).samples(ROOT, frozen, "test")
    with pytest.raises(DataError, match="a fold from 0 to 4, got 5"):
        Listed(rows).samples(ROOT, frozen, "test", 5)


@pytest.mark.parametrize("folds", [0, 2, -1])
def test_two_folds_leave_nothing_to_learn_from(folds: int) -> None:
    with pytest.raises(ProtocolError, match="1 fold or at least 3"):
        replace(PROTOCOL, folds=folds)


def test_people_whom_a_protocol_drops_do_not_shift_the_folds() -> None:
    rows = [Row(str(number), "all", "happy", f"p{number}") for number in range(6)]
    rows[1] = replace(rows[1], label="fear")
    rows[3] = replace(rows[3], label="sad")
    tested = [
        Listed(rows).samples(ROOT, replace(PROTOCOL, folds=5), "test", fold, check=False).ids
        for fold in range(5)
    ]
    assert tested == [("0",), ("2",), ("3",), ("4",), ("5",)]


def test_an_empty_split_names_what_is_there() -> None:
    with pytest.raises(
        DataError, match=r"expected pictures in 'test' of 'x', got none. Splits found: train, val"
    ):
        Listed(ROWS[:4]).samples(ROOT, PROTOCOL, "test", check=False)


def test_another_split_or_another_data_set_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"no split of 'x' 'tset'\. Did you mean 'test'"):
        Listed(ROWS).samples(ROOT, PROTOCOL, "tset")
    with pytest.raises(UnknownNameError, match="'all'"):
        Listed(ROWS).samples(ROOT, PROTOCOL, "all")
    with pytest.raises(DataError, match="expected a protocol for 'listed', got 'ferplus_majority_8'"):
        Listed(ROWS).samples(ROOT, "ferplus_majority_8", "train")


EXPECTED = {"train": {"happy": 3, "sad": 2, "fear": 2}, "test": {"happy": 1, "sad": 1, "fear": 2}}


def rows_of(counts: dict[str, dict[str, int]]) -> list[Row]:
    names = [(split, label) for split, some in counts.items() for label, n in some.items() for _ in range(n)]
    return [Row(str(number), split, label) for number, (split, label) in enumerate(names)]


def test_counts_that_differ_are_named() -> None:
    found = Listed(rows_of({**EXPECTED, "test": {"happy": 1, "sad": 3, "fear": 2}}), EXPECTED).verify(ROOT)
    assert found.problems == ("expected 1 pictures of 'sad' in 'test' (counted here), got 3",)
    assert Listed(rows_of(EXPECTED), EXPECTED).verify(ROOT).ok


def test_a_permuted_order_is_named() -> None:
    mixed = {"train": {"happy": 2, "sad": 3, "fear": 2}, "test": {"happy": 2, "sad": 1, "fear": 1}}
    hint, *rest = Listed(rows_of(mixed), EXPECTED).verify(ROOT).problems
    assert hint == (
        "the counts fit if the labels are in the order fear, happy, sad; "
        "they were read in the order happy, sad, fear"
    )
    assert len(rest) == 4
    assert Listed(rows_of(mixed), EXPECTED).verify(ROOT, counts=False).ok


def test_counts_that_fit_in_one_split_only_give_no_hint() -> None:
    mixed = {"train": {"happy": 2, "sad": 3, "fear": 2}, "test": {"happy": 1, "sad": 2, "fear": 1}}
    problems = Listed(rows_of(mixed), EXPECTED).verify(ROOT).problems
    assert problems
    assert not any("the counts fit" in problem for problem in problems)


def test_pictures_without_a_label_are_no_conflict() -> None:
    listed = Listed([Row("1", "train", "sad"), Row("1", "test", None)])
    found = listed.verify(ROOT)
    assert (found.duplicates, found.duplicates_across_splits, found.conflicting) == (1, 1, 0)
    assert found.problems == ("expected each picture once, got '1' more than once",)


def test_names_of_classes_are_mapped_or_all_unknown_ones_listed() -> None:
    assert named_classes(["Joy", "anger"], "x") == {"Joy": "happy", "anger": "angry"}
    with pytest.raises(DataError, match="in the list, got '0', 'bored'"):
        named_classes(["bored", "happy", "0"], "the list")
    with pytest.raises(DataError, match="got 'contempt'"):
        named_classes(["contempt"], "x", ("happy", "sad"))


def test_the_share_of_a_name_never_changes() -> None:
    """First eight bytes of sha256("abc"), which FIPS 180-2 prints as ba7816bf 8f01cfea ..."""
    assert name_share("abc") == 0xBA7816BF8F01CFEA / 2**64
    assert held_out("abc", 0.73) and not held_out("abc", 0.72)
    shares = [name_share(f"person {number}") for number in range(2000)]
    assert np.mean(np.array(shares) < 0.15) == pytest.approx(0.15, abs=0.03)


def test_a_protocol_that_is_not_whole_is_refused() -> None:
    with pytest.raises(ProtocolError, match="expected a whole protocol"):
        protocol_from({"name": "x"})
    with pytest.raises(
        ProtocolError, match=r"expected protocol 'ckplus_7' to have a metric of accuracy, uar.*got 'war'"
    ):
        replace(load_protocol("ckplus_7"), metric="war")
