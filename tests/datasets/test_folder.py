from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mien.datasets.dataset import DATASETS, Row
from mien.datasets.folder import PARTS, Folder, divide, protocol_of, torn
from mien.errors import DataError, DataNotFoundError, ProtocolError

FOLDER = DATASETS["folder"]


def write(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (30, 30), 10 + number).save(path)
    return root


def test_class_names_are_mapped_and_other_files_left_out(tmp_path: Path) -> None:
    write(tmp_path, "Happiness/b.png", "Happiness/a.JPG", "anger/deep/c.png", "anger/.hidden.png")
    (tmp_path / "anger" / "notes.txt").write_text("x")
    found = {(row.id, row.label) for row in FOLDER.rows(tmp_path)}
    assert found == {
        ("Happiness/a.JPG", "happy"),
        ("Happiness/b.png", "happy"),
        ("anger/deep/c.png", "angry"),
    }


def test_unknown_names_are_refused_with_what_is_known_and_what_to_do(tmp_path: Path) -> None:
    write(tmp_path, "happy/a.png", "bored/b.png", "tired/c.png")
    with pytest.raises(DataError) as caught:
        FOLDER.rows(tmp_path)
    for part in ("got 'bored', 'tired'", "neutral, happy, surprise", "Folder(own_classes=True)"):
        assert part in str(caught.value)
    assert FOLDER.verify(tmp_path).problems == (str(caught.value),)


def test_own_classes(tmp_path: Path) -> None:
    names = [f"{label}/{label}{number}.png" for label in ("bored", "Awake") for number in range(12)]
    own = Folder(own_classes=True)
    protocol = protocol_of(write(tmp_path, *names), own)
    assert protocol.labels == ("Awake", "bored")
    for split in PARTS:
        samples = own.samples(tmp_path, protocol, split)
        assert min(samples.counts.values()) >= 1
        assert [name.split("/")[0] for name in samples.ids] == [samples.labels[i] for i in samples.target]


def test_the_same_folder_always_gives_the_same_parts(tmp_path: Path) -> None:
    """These were computed once; a change here moves everybody's pictures."""
    FOLDER.look_alike(tmp_path, 10)
    rows = FOLDER.rows(tmp_path)
    assert Counter(row.split for row in rows) == {"train": 57, "select": 10, "test": 13}
    assert [row.id for row in rows if row.split == "test" and row.label == "happy"] == ["happy/happy_002.png"]
    protocol = protocol_of(tmp_path)
    assert sum(facts.pictures for facts in protocol.splits.values()) == 80
    assert len(FOLDER.samples(tmp_path, protocol, "test")) == 13


def test_new_pictures_move_nobody_once_the_classes_are_in_every_part() -> None:
    rows = [Row(f"sad/{number}.png", "", "sad") for number in range(300)]
    before, after = divide(rows[:200]), divide(rows)
    assert after[:200] == before
    shares = Counter(row.split for row in after)
    assert shares["test"] == pytest.approx(45, abs=15)
    assert shares["select"] == pytest.approx(45, abs=15)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(0, 10**6))
def test_three_pictures_of_a_class_are_enough_for_every_part(sizes: list[int], seed: int) -> None:
    rows = [
        Row(f"{label}/{seed}_{number}.png", "", str(label))
        for label, size in enumerate(sizes)
        for number in range(size)
    ]
    divided = divide(rows)
    assert [row.id for row in divided] == [row.id for row in rows]
    for label, size in enumerate(sizes):
        parts = {row.split for row in divided if row.label == str(label)}
        assert "train" in parts
        if size >= 3:
            assert parts == set(PARTS)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abc")), min_size=1, max_size=60))
def test_a_person_is_in_one_part(shown: list[tuple[int, str]]) -> None:
    rows = [Row(f"{index}.png", "", label, f"person {who}") for index, (who, label) in enumerate(shown)]
    divided = divide(rows)
    people = {}
    for row in divided:
        assert people.setdefault(row.subject, row.split) == row.split
    for label in {label for _, label in shown}:
        assert "train" in {row.split for row in divided if row.label == label}


def table(root: Path, text: str) -> Path:
    (root / "labels.csv").write_text(text)
    return root


def test_a_table_with_people(tmp_path: Path) -> None:
    lines = [f"p/{who}_{label}.png,{label},person {who}" for who in range(20) for label in ("joy", "sad")]
    write(tmp_path, *(line.split(",")[0] for line in lines))
    table(tmp_path, "path,label,subject\n" + "\n".join(lines))
    protocol = protocol_of(tmp_path, metric="uar", name="mine")
    assert (protocol.name, protocol.metric, protocol.subjects_disjoint) == ("mine", "uar", True)
    assert protocol.labels == ("happy", "sad")
    test = FOLDER.samples(tmp_path, protocol, "test")
    assert test.counts["happy"] == test.counts["sad"] > 0
    assert len(set(test.subjects)) * 2 == len(test)
    assert FOLDER.samples(tmp_path / "labels.csv", protocol, "test").ids == test.ids
    assert np.array_equal(test.read(0), np.asarray(Image.open(tmp_path / test.ids[0])))


def test_given_splits_stay_and_what_is_missing_is_divided_off_train(tmp_path: Path) -> None:
    names = [f"{part}/sad/{number}.png" for part in ("train", "test") for number in range(30)]
    rows = FOLDER.rows(write(tmp_path, *names))
    assert all(row.split == "test" for row in rows if row.id.startswith("test/"))
    rest = Counter(row.split for row in rows if row.id.startswith("train/"))
    assert set(rest) == {"train", "select"}
    assert rest["train"] > rest["select"]
    write(tmp_path, "valid/sad/1.png")
    kept = FOLDER.rows(tmp_path)
    assert {(row.id.split("/")[0], row.split) for row in kept} == {
        ("train", "train"),
        ("test", "test"),
        ("valid", "select"),
    }


def test_a_column_of_splits(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "b.png", "c.png")
    table(tmp_path, "path,label,split\na.png,sad,train\nb.png,sad,val\nc.png,sad,test\n")
    assert [row.split for row in FOLDER.rows(tmp_path)] == ["train", "select", "test"]
    assert not protocol_of(tmp_path).subjects_disjoint
    table(tmp_path, "path,label,split\na.png,sad,later\n")
    with pytest.raises(DataError, match=r"expected the splits train, .* got later"):
        FOLDER.rows(tmp_path)


def test_people_in_two_given_splits_are_seen(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "b.png", "c.png")
    lines = "a.png,sad,train,Ann\nb.png,sad,val,Ben\nc.png,sad,test,Ann\n"
    table(tmp_path, "path,label,split,subject\n" + lines)
    assert FOLDER.verify(tmp_path).shared_subjects == 1
    assert not protocol_of(tmp_path).subjects_disjoint
    assert torn(FOLDER.rows(tmp_path)) == ["Ann"]


def test_pictures_without_a_split_go_where_their_person_was_put(tmp_path: Path) -> None:
    lines = [f"{row}.png,sad,{'test' if row % 8 == 3 else ''},p{row % 4}" for row in range(40)]
    rows = FOLDER.rows(table(tmp_path, "path,label,split,subject\n" + "\n".join(lines)))
    assert torn(rows) == [] and {row.split for row in rows if row.subject == "p3"} == {"test"}
    assert {row.split for row in rows} == {"train", "select", "test"}


def test_blanks_do_not_make_classes_and_lines_that_lack_something_are_named(tmp_path: Path) -> None:
    own = Folder(own_classes=True)
    spaced = table(tmp_path, "path, label\n a.png,sad \nb.png,  sad\n")
    assert [(row.id, row.label) for row in own.rows(spaced)] == [("a.png", "sad"), ("b.png", "sad")]
    for text in ("path,label\na.png,sad\nb.png,\n", "label,path\nsad,a.png\nsad\n"):
        with pytest.raises(DataError, match="got 1 without, the first is line 3"):
            own.rows(table(tmp_path, text))
    (tmp_path / "labels.csv").write_bytes("path,label\né.png,sad\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"expected a CSV table in UTF-8.*Save it as 'CSV UTF-8'"):
        own.rows(tmp_path)


def test_what_verify_says_of_a_table(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "b.png")
    (tmp_path / "c.png").write_bytes((tmp_path / "a.png").read_bytes())
    (tmp_path / "e.png").write_bytes(b"no picture")
    lines = "a.png,sad\nb.png,sad\nc.png,happy\nd.png,sad\ne.png,sad\nb.png,sad\n"
    found = FOLDER.verify(table(tmp_path, "path,label\n" + lines))
    repeated, missing, damaged = found.problems
    assert repeated == "expected each picture once, got 'b.png' more than once"
    assert "got no file" in missing and "d.png" in missing
    assert "damaged or other file" in damaged and "e.png" in damaged
    assert found.conflicting == 1
    assert any("a.png" in note and "c.png" in note and "two labels" in note for note in found.notes)


def test_many_missing_pictures_are_summed_up(tmp_path: Path) -> None:
    lines = "\n".join(f"{number}.png,sad" for number in range(25))
    problems = FOLDER.verify(table(tmp_path, "path,label\n" + lines)).problems
    assert len(problems) == 11
    assert problems[-1] == "and 15 more like the last"


@pytest.mark.parametrize("text", ["", "file,emotion\na.png,sad\n"])
def test_a_table_without_its_columns_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected the columns path, label"):
        FOLDER.rows(table(tmp_path, text))


@pytest.mark.parametrize("second", ["a.png,sad,ann,", "a.png,happy,bea,", "a.png,happy,ann,test"])
def test_two_lines_that_disagree_on_a_picture_are_refused(second: str, tmp_path: Path) -> None:
    lines = f"path,label,subject,split\na.png,happy,ann,\nb.png,sad,,\n{second}\n"
    text = r"expected one label, person and split of each picture .* got others of 'a\.png' in line 4"
    with pytest.raises(DataError, match=text):
        FOLDER.rows(table(tmp_path, lines))
    assert len(FOLDER.rows(table(tmp_path, lines.replace(second, "a.png,happy,ann,")))) == 3


def test_what_analysis_reads_teaches_and_what_it_cannot_is_told(tmp_path: Path) -> None:
    write(tmp_path, "sad/a.png")
    for name in ("b.jfif", "c.gif", "d.tga"):
        Image.open(tmp_path / "sad" / "a.png").convert("L").save(
            tmp_path / "sad" / name, "JPEG" if "jf" in name else None
        )
    (tmp_path / "sad" / "e.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    found = FOLDER.verify(tmp_path)
    assert sum(found.counts[part].get("sad", 0) for part in found.counts) == 5
    (problem,) = found.problems
    assert "e.HEIC" in problem


def test_an_empty_folder_and_too_few_pictures(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="<class>"):
        FOLDER.rows(tmp_path)
    write(tmp_path, "sad/a.png", "sad/b.png")
    with pytest.raises(DataError, match=r"got 2 and none to (select|test)\. A folder is divided"):
        protocol_of(tmp_path)
    protocol = protocol_of(write(tmp_path, "sad/c.png"))
    with pytest.raises(ProtocolError, match="choose the epoch on another"):
        replace(protocol, select="test")


def test_a_changed_folder_does_not_pass_an_old_protocol(tmp_path: Path) -> None:
    FOLDER.look_alike(tmp_path, 10)
    protocol = protocol_of(tmp_path)
    name = FOLDER.samples(tmp_path, protocol, "test").ids[0]
    (tmp_path / name).rename((tmp_path / name).with_name("other.png"))
    with pytest.raises(DataError, match="expected"):
        for split in PARTS:
            FOLDER.samples(tmp_path, protocol, split)
