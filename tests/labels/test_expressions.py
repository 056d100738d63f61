from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import LabelError, UnknownNameError
from mien.labels.expressions import (
    CODES,
    COMPOUND_PARTS,
    COMPOUND_RAFDB,
    EXPRESSIONS,
    FERPLUS_VOTES,
    ORDERS,
    canonical,
    from_code,
    order,
    reorder,
)

PUBLISHED = {
    "rafdb": "1 Surprise, 2 Fear, 3 Disgust, 4 Happiness, 5 Sadness, 6 Anger, 7 Neutral",
    "affectnet": "0 Neutral, 1 Happy, 2 Sad, 3 Surprise, 4 Fear, 5 Disgust, 6 Anger, 7 Contempt",
    "expw": "0 angry, 1 disgust, 2 fear, 3 happy, 4 sad, 5 surprise, 6 neutral",
    "ckplus": "0 neutral, 1 anger, 2 contempt, 3 disgust, 4 fear, 5 happy, 6 sadness, 7 surprise",
    "jaffe": "AN angry, DI disgust, FE fear, HA happy, NE neutral, SA sad, SU surprise",
    "kdef": "AF afraid, AN angry, DI disgusted, HA happy, NE neutral, SA sad, SU surprised",
}
PUBLISHED_COMPOUND = (
    "1 Happily Surprised, 2 Happily Disgusted, 3 Sadly Fearful, 4 Sadly Angry, 5 Sadly Surprised, "
    "6 Sadly Disgusted, 7 Fearfully Angry, 8 Fearfully Surprised, 9 Angrily Surprised, "
    "10 Angrily Disgusted, 11 Disgustedly Surprised"
)


def test_the_order_of_mien() -> None:
    assert EXPRESSIONS == ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt")


def test_the_order_of_fer2013_as_kaggle_published_it() -> None:
    published = "0=Angry, 1=Disgust, 2=Fear, 3=Happy, 4=Sad, 5=Surprise, 6=Neutral"
    assert tuple(canonical(part.split("=")[1]) for part in published.split(", ")) == order("fer2013")


def test_the_columns_of_ferplus_as_microsoft_published_them() -> None:
    header = "neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    assert ",".join(FERPLUS_VOTES) == header
    assert tuple(canonical(name) for name in FERPLUS_VOTES[:8]) == order("ferplus") == EXPRESSIONS


@pytest.mark.parametrize("source", ORDERS)
def test_every_order_holds_each_class_once_in_miens_names(source: str) -> None:
    assert len(set(order(source))) == len(order(source))
    assert set(order(source)) <= set(EXPRESSIONS)


@pytest.mark.parametrize(
    ("label", "name"),
    [("Happiness", "happy"), (" ANGER ", "angry"), ("joy", "happy"), ("afraid", "fear"), ("Sadness", "sad")],
)
def test_canonical_names(label: str, name: str) -> None:
    assert canonical(label) == name


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_miens_names_are_their_own_canonical_names(name: str) -> None:
    assert canonical(name) == name


@pytest.mark.parametrize("label", ["", "unknown", "NF", "hapy", "3"])
def test_canonical_refuses_what_is_no_expression(label: str) -> None:
    with pytest.raises(UnknownNameError, match="no expression label"):
        canonical(label)


def test_an_unknown_order_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'fer2013'"):
        order("fer2103")


@given(st.permutations(EXPRESSIONS), st.integers(0, 4), st.integers(0, 2**32 - 1))
def test_reorder_there_and_back_changes_nothing(names: list[str], rows: int, seed: int) -> None:
    values = np.random.default_rng(seed).random((rows, 8))
    there = reorder(values, EXPRESSIONS, names)
    for column, name in enumerate(names):
        assert np.array_equal(there[:, column], values[:, EXPRESSIONS.index(name)])
    assert np.array_equal(reorder(there, names), values)


def test_reorder_of_fer2013_puts_each_class_under_its_name() -> None:
    moved = reorder(np.arange(1, 8), order("fer2013"))
    assert dict(zip(EXPRESSIONS, moved.tolist(), strict=True)) == {
        "angry": 1,
        "disgust": 2,
        "fear": 3,
        "happy": 4,
        "sad": 5,
        "surprise": 6,
        "neutral": 7,
        "contempt": 0,
    }


def test_reorder_keeps_leading_axes_and_type() -> None:
    values = np.ones((2, 3, 7), np.float32)
    moved = reorder(values, order("fer2013"))
    assert moved.shape == (2, 3, 8)
    assert moved.dtype == np.float32


def test_reorder_refuses_to_lose_a_class() -> None:
    with pytest.raises(LabelError, match="no place for contempt"):
        reorder(np.ones(8), EXPRESSIONS, order("fer2013"))


def test_reorder_refuses_a_wrong_number_of_columns() -> None:
    with pytest.raises(LabelError, match=r"expected 7 columns .*got 8"):
        reorder(np.ones((2, 8)), order("fer2013"))


@pytest.mark.parametrize("names", [("happy", "joy"), ("sad", "sad")])
def test_reorder_refuses_a_class_named_twice(names: tuple[str, str]) -> None:
    with pytest.raises(LabelError):
        reorder(np.array([0.4, 0.6]), names)


@pytest.mark.parametrize("source", PUBLISHED)
def test_codes_as_the_sources_publish_them(source: str) -> None:
    pairs = [part.split() for part in PUBLISHED[source].split(", ")]
    assert dict(CODES[source]) == {code: canonical(name) for code, name in pairs}


def test_compound_codes_as_rafdb_publishes_them() -> None:
    parts = [part.partition(" ") for part in PUBLISHED_COMPOUND.split(", ")]
    assert dict(CODES["rafdb_compound"]) == {code: name.lower().replace(" ", "_") for code, _, name in parts}


def test_a_compound_class_is_made_of_two_basic_ones_and_named_after_them() -> None:
    stems = {"happily": "happy", "sadly": "sad", "fearfully": "fear", "angrily": "angry"}
    stems |= {"disgustedly": "disgust", "surprised": "surprise", "disgusted": "disgust", "fearful": "fear"}
    assert len(COMPOUND_RAFDB) == len(set(COMPOUND_RAFDB)) == 11
    for name, parts in COMPOUND_PARTS.items():
        assert tuple(stems.get(word, word) for word in name.split("_")) == parts
        assert set(parts) <= set(EXPRESSIONS)
        assert name not in EXPRESSIONS


def test_affectnet_7_is_affectnet_8_without_contempt() -> None:
    assert order("affectnet_7") == tuple(name for name in order("affectnet_8") if name != "contempt")


@pytest.mark.parametrize(
    ("source", "code", "name"),
    [("rafdb", "1", "surprise"), ("kdef", "AF", "fear"), ("rafdb_compound", "11", "disgustedly_surprised")],
)
def test_from_code(source: str, code: str, name: str) -> None:
    assert from_code(source, code) == name


@pytest.mark.parametrize(
    ("source", "code"), [("rafdb", "0"), ("rafdb", "8"), ("kdef", "FE"), ("jaffe", "AF")]
)
def test_from_code_refuses_codes_of_another_source(source: str, code: str) -> None:
    with pytest.raises(UnknownNameError, match=f"no code of '{source}' '{code}'"):
        from_code(source, code)


def test_from_code_refuses_an_unknown_source() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'rafdb'"):
        from_code("raf-db", "1")
