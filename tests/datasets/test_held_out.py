"""The part of the training pictures that selects, on its own and in every set that has one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from mien.datasets import affectnet, rafdb, sfew
from mien.datasets.dataset import DATASETS, Row
from mien.datasets.held_out import HELD_OUT, counts_after, enough_for, held_out_of, hold_out
from mien.datasets.protocol import load_protocol

OFFICIAL = {
    "rafdb_basic": (rafdb.TRAIN, rafdb.TEST, 12271, 3068),
    "affectnet_8": (affectnet.TRAIN, affectnet.VAL, 287651, 4000),
    "affectnet_7": (affectnet.TRAIN, affectnet.VAL, 283901, 3500),
    "sfew_7": (sfew.TRAIN, sfew.VAL, 958, 436),
}
SETS = ("rafdb", "rafdb_compound", "affectnet", "sfew")


def made(count: int = 200) -> list[Row]:
    labels = ["happy"] * 6 + ["sad"] * 3 + ["fear"]
    rows = [Row(f"picture_{number}", "train", labels[number % 10]) for number in range(count)]
    return [*rows, Row("nobody", "train", None), Row("other", "test", "sad")]


def held(rows: list[Row]) -> set[str]:
    return {row.id for row in hold_out(rows) if row.split == HELD_OUT}


def test_one_in_ten_of_each_class_is_held_out_and_the_rest_stays() -> None:
    before, after = made(), hold_out(made())
    assert [row.id for row in after] == [row.id for row in before]
    assert [row.label for row in after] == [row.label for row in before]
    parts = Counter((row.label, row.split) for row in after)
    assert parts == {
        ("happy", "train"): 108,
        ("happy", HELD_OUT): 12,
        ("sad", "train"): 54,
        ("sad", HELD_OUT): 6,
        ("fear", "train"): 18,
        ("fear", HELD_OUT): 2,
        (None, "train"): 1,
        ("sad", "test"): 1,
    }


def test_the_part_is_the_same_in_any_order_and_for_ever() -> None:
    assert held(made()) == held(made()[::-1])
    # Frozen: a change here changes every number that was chosen on this part.
    assert held([Row(f"train_{number:05d}", "train", "happy") for number in range(1, 31)]) == {
        "train_00013",
        "train_00014",
        "train_00022",
    }


def test_few_new_pictures_move_few_others() -> None:
    more = [*made(), *(Row(f"new_{number}", "train", "happy") for number in range(10))]
    assert len(held(made()) - held(more)) <= 2


def test_how_many_are_held_out() -> None:
    assert [held_out_of(count) for count in (0, 1, 2, 9, 14, 15, 100, 1290)] == [0, 0, 1, 1, 1, 2, 10, 129]
    for wanted in range(1, 60):
        whole = enough_for(wanted)
        assert whole - held_out_of(whole) == wanted


@pytest.mark.parametrize("name", OFFICIAL)
def test_frozen_counts_add_up_to_the_official_ones(name: str) -> None:
    train, test, train_count, test_count = OFFICIAL[name]
    protocol = load_protocol(name)
    parts = [protocol.splits[split] for split in (protocol.train, protocol.select)]
    assert protocol.select == HELD_OUT
    assert {label: sum(part.per_class[label] for part in parts) for label in protocol.labels} == {
        label: train[label] for label in protocol.labels
    }
    assert sum(part.pictures for part in parts) == train_count
    assert protocol.splits[protocol.test].pictures == test_count
    assert dict(protocol.splits[protocol.test].per_class) == {label: test[label] for label in protocol.labels}
    for facts in protocol.splits.values():
        assert sum(facts.per_class.values()) == facts.pictures
        assert facts.source == "from memory"
        assert facts.ids_sha256 is None
    expected = DATASETS[protocol.dataset].expected
    for split, facts in protocol.splits.items():
        assert {label: expected[split][label] for label in protocol.labels} == dict(facts.per_class)


def test_counts_after_splits_each_class() -> None:
    assert counts_after({"happy": 104, "sad": 15}) == {
        "train": {"happy": 94, "sad": 13},
        HELD_OUT: {"happy": 10, "sad": 2},
    }


@pytest.mark.parametrize("name", SETS)
def test_a_look_alike_has_the_part_for_each_class_and_reads_the_same_twice(name: str, tmp_path: Path) -> None:
    DATASETS[name].look_alike(tmp_path, per_class=3)
    rows = DATASETS[name].rows(tmp_path)
    assert rows == DATASETS[name].rows(tmp_path)
    parts = Counter((row.split, row.label) for row in rows if row.label)
    labels = {row.label for row in rows if row.label}
    for label in labels:
        assert parts["train", label] == 3
        assert parts[HELD_OUT, label] == 1


@pytest.mark.parametrize(
    ("name", "protocol"),
    [
        ("rafdb", "rafdb_basic"),
        ("rafdb_compound", "rafdb_compound"),
        ("affectnet", "affectnet_8"),
        ("affectnet", "affectnet_7"),
        ("sfew", "sfew_7"),
    ],
)
def test_splits_of_a_protocol_share_no_picture_and_hold_every_class(
    name: str, protocol: str, tmp_path: Path
) -> None:
    DATASETS[name].look_alike(tmp_path)
    rules = load_protocol(protocol)
    splits = (rules.train, rules.select, rules.test)
    parts = [DATASETS[name].samples(tmp_path, protocol, split, check=False) for split in splits]
    ids = [id for part in parts for id in part.ids]
    assert len(ids) == len(set(ids))
    for part, count in zip(parts, (2, 1, 2), strict=True):
        assert part.labels == rules.labels
        assert part.counts == dict.fromkeys(rules.labels, count)
