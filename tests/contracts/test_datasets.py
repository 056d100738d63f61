"""Every registered data set, automatically, on the look-alike that it draws of itself."""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from mien.datasets.dataset import DATASETS, Dataset
from mien.datasets.folder import protocol_of
from mien.datasets.protocol import Protocol, load_protocol, protocol_from, protocol_names, protocol_text
from mien.datasets.samples import Samples
from mien.errors import DataNotFoundError, ProtocolError
from mien.labels.expressions import EXPRESSIONS
from mien.transforms.pixels import PICTURE_SUFFIXES

PER_CLASS = 4
PAGE = Path(__file__).parents[2] / "docs" / "datasets.md"


@pytest.fixture(scope="module", params=list(DATASETS))
def dataset(request: pytest.FixtureRequest) -> Dataset:
    return DATASETS[request.param]


@pytest.fixture(scope="module")
def drawn(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp(dataset.name)
    dataset.look_alike(root, per_class=PER_CLASS)
    return root


def protocols(dataset: Dataset, drawn: Path) -> list[Protocol]:
    """The frozen ones; for folders of one's own, the one that is made from the folder."""
    if dataset.name == "folder":
        return [protocol_of(drawn)]
    return [one for one in map(load_protocol, protocol_names()) if one.dataset == dataset.name]


def test_facts_are_whole(dataset: Dataset) -> None:
    assert re.fullmatch(r"[a-z0-9_]+", dataset.name)
    assert dataset.title and dataset.licence and dataset.apply_at and dataset.layout and dataset.splits
    assert dataset.framing in ("crop", "photo", "ready")
    assert bool(dataset.expected) == bool(dataset.expected_source)
    assert type(dataset).__doc__


def test_there_is_a_protocol(dataset: Dataset, drawn: Path) -> None:
    assert protocols(dataset, drawn)


def test_the_page_names_it(dataset: Dataset) -> None:
    assert f"`{dataset.name}`" in PAGE.read_text()


def test_rows_of_the_look_alike(dataset: Dataset, drawn: Path) -> None:
    rows = dataset.rows(drawn)
    named = {row.label for row in rows} - {None}
    classes_known = {label for classes in dataset.expected.values() for label in classes} | set(EXPRESSIONS)
    classes_known |= {label for protocol in protocols(dataset, drawn) for label in protocol.labels}
    assert len(named) > 1 or dataset.units
    assert named <= classes_known
    if dataset.units:
        values = np.array([row.extras["action_units"] for row in rows])
        assert values.shape == (len(rows), len(dataset.units))
        assert ((values == 1).any(0) & (values == 0).any(0)).sum() > 1
    assert {row.split for row in rows} <= set(dataset.splits)
    assert len({row.id for row in rows}) == len(rows)
    assert rows == dataset.rows(drawn)


def test_pictures_of_the_look_alike(dataset: Dataset, drawn: Path) -> None:
    rows = dataset.rows(drawn)
    read = dataset.reader(drawn, rows)
    for index in (0, len(rows) // 2, len(rows) - 1):
        picture = read(index)
        assert picture.dtype == np.uint8
        assert picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3)
        assert picture.std() > 1
        assert np.array_equal(picture, read(index))


def test_clips_of_the_look_alike(dataset: Dataset, drawn: Path) -> None:
    rows = dataset.rows(drawn)
    clips = dataset.clips(drawn, rows)
    if clips is None:
        pytest.skip("single pictures")
    for index in (0, len(rows) - 1):
        clip = clips(index)
        frames = clip.read([0, clip.count - 1, clip.count - 1])
        assert [frame.dtype for frame in frames] == [np.uint8] * 3 and frames[0].std() > 1
        assert not np.array_equal(frames[0], frames[1]) and np.array_equal(frames[1], frames[2])
        middle = clip.read([clip.count // 2])[0]
        assert np.array_equal(dataset.reader(drawn, rows)(index), middle)


def test_a_look_alike_is_in_order_but_for_its_counts(dataset: Dataset, drawn: Path) -> None:
    found = dataset.verify(drawn, counts=False)
    assert found.ok, found.problems
    assert sum(sum(classes.values()) for classes in found.counts.values()) == len(dataset.rows(drawn))
    assert found.to_dict() == {**asdict(found), "ok": True}
    with_counts = dataset.verify(drawn)
    assert with_counts.ok == (not dataset.expected)
    assert all("pictures of" in problem for problem in with_counts.problems)
    assert with_counts.sha256 == found.sha256


def test_the_same_seed_draws_the_same(dataset: Dataset, drawn: Path, tmp_path: Path) -> None:
    dataset.look_alike(tmp_path, per_class=PER_CLASS)
    assert dataset.verify(tmp_path, counts=False).sha256 == dataset.verify(drawn, counts=False).sha256


def test_samples_of_every_protocol(dataset: Dataset, drawn: Path) -> None:
    for protocol in protocols(dataset, drawn):
        seen: dict[str, str] = {}
        for split in (protocol.train, protocol.select, protocol.test):
            samples = dataset.samples(drawn, protocol, split, check=False)
            assert len(samples) == len(set(samples.ids)) > 0
            assert samples.labels == protocol.labels
            assert samples.framing == dataset.framing
            assert not set(samples.ids) & set(seen), (protocol.name, split)
            seen |= dict.fromkeys(samples.ids, split)
            assert samples.task == protocol.task
            if split != protocol.train:
                assert known(samples).all()
            if samples.soft is not None:
                assert samples.soft.sum(1) == pytest.approx(1)
            picture = samples.read(len(samples) - 1)
            assert picture.dtype == np.uint8
            assert samples.sha256 == dataset.samples(drawn, protocol, split, check=False).sha256
        assert known(dataset.samples(drawn, protocol, protocol.train, check=False)).any()


def known(samples: Samples) -> np.ndarray:
    """bool (N,): the class, or any of the action units, is known."""
    if samples.task == "action_units":
        units = samples.extras["action_units"]
        assert set(np.unique(units[np.isfinite(units)])) == {0, 1}
        return np.isfinite(units).any(1)
    return samples.target >= 0


def test_people_are_apart_where_the_protocol_says_so(dataset: Dataset, drawn: Path) -> None:
    for protocol in protocols(dataset, drawn):
        if not protocol.subjects_disjoint:
            continue
        people = [
            set(dataset.samples(drawn, protocol, split, check=False).subjects or ())
            for split in (protocol.train, protocol.select, protocol.test)
        ]
        assert all(people)
        assert sum(map(len, people)) == len(set.union(*people))


def test_a_look_alike_does_not_pass_for_the_real_thing(dataset: Dataset, drawn: Path) -> None:
    for protocol in protocols(dataset, drawn):
        if dataset.name == "folder":
            continue
        with pytest.raises(ValueError, match=r"expected .* got"):
            for split in (protocol.train, protocol.select, protocol.test):
                dataset.samples(drawn, protocol, split)


def test_a_missing_root_says_where_it_looked_what_is_expected_and_where_to_apply(
    dataset: Dataset, tmp_path: Path
) -> None:
    for root in (tmp_path / "absent", tmp_path):
        with pytest.raises(DataNotFoundError) as caught:
            dataset.verify(root)
        for part in (str(root), dataset.layout, dataset.apply_at, dataset.licence):
            assert part in str(caught.value)


def test_a_damaged_picture_is_a_problem_and_no_exception(dataset: Dataset, tmp_path: Path) -> None:
    dataset.look_alike(tmp_path, per_class=PER_CLASS)
    damage(tmp_path)
    found = dataset.verify(tmp_path, counts=False)
    assert not found.ok
    assert all("expected" in problem or "more like" in problem for problem in found.problems)


def damage(root: Path) -> None:
    """Spoil the pictures: loose files, members of archives, numbers in tables; an npz file loses its end."""
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    pictures = [path for path in files if path.suffix.lower() in (*PICTURE_SUFFIXES, ".mp4", ".avi")]
    for path in pictures:
        path.write_bytes(b"\xff\xd8 no picture")
    for path in files if not pictures else ():
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
            with zipfile.ZipFile(path, "w") as archive:
                for name in names:
                    archive.writestr(name, b"\xff\xd8 no picture")
        elif path.suffix == ".npz":
            path.write_bytes(path.read_bytes()[:-100])
        elif path.suffix == ".csv":
            path.write_text(re.sub(r"(\d+ ){9}", "999 ", path.read_text()))


@pytest.mark.parametrize("name", protocol_names())
def test_every_protocol_is_of_a_registered_set(name: str) -> None:
    protocol = load_protocol(name)
    assert protocol.name == name
    assert protocol.dataset in DATASETS
    assert protocol.source
    assert set(protocol.splits) <= {protocol.train, protocol.select, protocol.test, "all"}
    for facts in protocol.splits.values():
        assert facts.source
        if facts.per_class is not None:
            assert set(facts.per_class) == set(protocol.labels)
            several = protocol.task == "action_units"
            assert (max if several else sum)(facts.per_class.values()) <= facts.pictures


@pytest.mark.parametrize("name", protocol_names())
def test_a_protocol_is_the_same_when_written_and_read(name: str) -> None:
    protocol = load_protocol(name)
    assert protocol_from(json.loads(protocol_text(protocol))) == protocol


@pytest.mark.parametrize("name", protocol_names())
def test_a_protocol_that_selects_on_its_test_split_is_refused(name: str) -> None:
    protocol = load_protocol(name)
    stored = json.loads(protocol_text(protocol))
    with pytest.raises(ProtocolError, match="choose the epoch on another split"):
        protocol_from({**stored, "select": protocol.test})
    with pytest.raises(ProtocolError, match="learn from a split of its own"):
        replace(protocol, train=protocol.test)
