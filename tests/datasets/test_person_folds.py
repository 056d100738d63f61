"""Folds by person, in every set that has them: nobody on two sides, everybody tested once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mien.datasets.dataset import DATASETS
from mien.datasets.protocol import load_protocol, people_of_split
from mien.datasets.samples import Samples
from mien.errors import DataError

PROTOCOLS = ("ckplus_7", "ckplus_8", "ckplus48_7", "jaffe_loso", "kdef_frontal")
UNIT_PROTOCOLS = ("bp4d_12", "bp4d_plus_12", "disfa_8", "ckplus48_au")
SETS = ("ckplus", "ckplus48", "jaffe", "kdef", "bp4d", "bp4d_plus", "disfa")


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    roots = {name: tmp_path_factory.mktemp(name) for name in SETS}
    for name, root in roots.items():
        DATASETS[name].look_alike(root, per_class=3 if name == "ckplus48" else 1)
    return roots


def parts_of(roots: dict[str, Path], name: str, fold: int) -> dict[str, Samples]:
    protocol = load_protocol(name)
    data, root = DATASETS[protocol.dataset], roots[protocol.dataset]
    return {
        split: data.samples(root, name, split, fold, check=False)
        for split in (protocol.train, protocol.select, protocol.test)
    }


@pytest.mark.parametrize("name", PROTOCOLS + UNIT_PROTOCOLS)
def test_no_person_is_in_two_parts_of_a_fold(name: str, roots: dict[str, Path]) -> None:
    assert load_protocol(name).subjects_disjoint
    for fold in range(load_protocol(name).folds):
        people = [set(part.subjects) for part in parts_of(roots, name, fold).values()]
        assert all(people)
        assert len(set.union(*people)) == sum(len(part) for part in people)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_picture_is_tested_once_and_selects_once(name: str, roots: dict[str, Path]) -> None:
    protocol = load_protocol(name)
    data, root = DATASETS[protocol.dataset], roots[protocol.dataset]
    whole = {row.id for row in data.rows(root) if data.labelled(row, protocol)}
    for split in (protocol.test, protocol.select):
        ids = [id for fold in range(10) for id in parts_of(roots, name, fold)[split].ids]
        assert len(ids) == len(set(ids))
        assert set(ids) == whole


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_fold_after_the_tested_one_selects(name: str, roots: dict[str, Path]) -> None:
    protocol = load_protocol(name)
    parts = [parts_of(roots, name, fold) for fold in range(10)]
    for fold in range(10):
        assert parts[fold][protocol.select].ids == parts[(fold + 1) % 10][protocol.test].ids


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_part_holds_every_class(name: str, roots: dict[str, Path]) -> None:
    for part in parts_of(roots, name, 4).values():
        assert part.labels == load_protocol(name).labels
        assert all(part.counts.values())


@pytest.mark.parametrize("name", PROTOCOLS)
def test_frozen_counts_are_those_of_the_set(name: str) -> None:
    protocol = load_protocol(name)
    facts = protocol.splits["all"]
    assert sum(facts.per_class.values()) == facts.pictures
    assert tuple(facts.per_class) == protocol.labels
    whole = dict(DATASETS[protocol.dataset].expected["all"])
    if name == "kdef_frontal":
        whole = {label: count // 5 for label, count in whole.items()}
    assert dict(facts.per_class) == {label: whole[label] for label in protocol.labels}


@pytest.mark.parametrize("name", UNIT_PROTOCOLS)
def test_units_are_tested_once_and_a_part_of_the_training_people_selects(
    name: str, roots: dict[str, Path]
) -> None:
    protocol = load_protocol(name)
    data, root = DATASETS[protocol.dataset], roots[protocol.dataset]
    whole = {row.id for row in data.rows(root)}
    parts = [parts_of(roots, name, fold) for fold in range(protocol.folds)]
    tested = [id for part in parts for id in part[protocol.test].ids]
    assert len(tested) == len(set(tested)) and set(tested) == whole
    for part in parts:
        people = {split: len(set(samples.subjects)) for split, samples in part.items()}
        others = people[protocol.train] + people[protocol.select]
        assert people[protocol.select] == max(1, round(protocol.select_share * others))


def test_a_salt_deals_people_out_in_another_order() -> None:
    plain = load_protocol("disfa_8")
    salted = replace(plain, fold_salt="a")
    people = [f"SN{number:03d}" for number in range(27)]
    folds = [people_of_split(salted, people, "test", fold) for fold in range(3)]
    assert [len(fold) for fold in folds] == [9, 9, 9] and set.union(*folds) == set(people)
    assert folds[0] != people_of_split(plain, people, "test", 0) == set(people[::3])
    assert folds == [people_of_split(salted, people[::-1], "test", fold) for fold in range(3)]
    with pytest.raises(DataError, match="expected a fold from 0 to 2, got 3"):
        people_of_split(plain, people, "test", 3)
