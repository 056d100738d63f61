from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import LabelError, UnknownNameError
from mien.labels.expressions import EXPRESSIONS, FERPLUS_VOTES, ORDERS, canonical, order, reorder


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
