"""Every order and every naming of expression classes, once. Map by name, never by index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from mien.errors import LabelError, UnknownNameError

EXPRESSIONS = ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt")
"""mien's eight classes in mien's order. Every score of the package is in this order unless it says so."""

FERPLUS_VOTES = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
    "unknown",
    "NF",
)
"""Columns of FER+'s vote table, fer2013new.csv (microsoft/FERPlus); NF is "no face"."""

ORDERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "mien": EXPRESSIONS,
        "fer2013": ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"),
        "ferplus": EXPRESSIONS,
        "muxspace": ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt"),
        "face_api": ("neutral", "happy", "sad", "angry", "fear", "disgust", "surprise"),
    }
)
"""Class order of each source, index 0 first, written in mien's names."""

_SYNONYMS: Mapping[str, str] = MappingProxyType(
    {
        "neutral": "neutral",
        "neutrality": "neutral",
        "happy": "happy",
        "happiness": "happy",
        "joy": "happy",
        "surprise": "surprise",
        "surprised": "surprise",
        "sad": "sad",
        "sadness": "sad",
        "angry": "angry",
        "anger": "angry",
        "disgust": "disgust",
        "disgusted": "disgust",
        "fear": "fear",
        "fearful": "fear",
        "afraid": "fear",
        "contempt": "contempt",
        "contemptuous": "contempt",
    }
)


def canonical(label: str) -> str:
    """Mien's name of a class: `canonical("Happiness") == "happy"`.

    Raises:
        UnknownNameError: the label is none of the eight nor a known synonym of one.
    """
    name = _SYNONYMS.get(label.strip().lower())
    if name is None:
        raise UnknownNameError("expression label", label, _SYNONYMS)
    return name


def order(source: str) -> tuple[str, ...]:
    """Class order of a source, index 0 first, in mien's names; `UnknownNameError` if there is none."""
    if source not in ORDERS:
        raise UnknownNameError("label order", source, ORDERS)
    return ORDERS[source]


def reorder(values: np.ndarray, source: Sequence[str], target: Sequence[str] = EXPRESSIONS) -> np.ndarray:
    """Move the last axis of an array from one class order to another; classes the source lacks become 0.

    Args:
        values: (..., len(source)).
        source: class names of the columns, any known spelling.
        target: class names wanted.

    Raises:
        LabelError: the last axis does not fit `source`, a class is named twice, or a source class has no
            place in the target.
    """
    names = [canonical(name) for name in source]
    wanted = [canonical(name) for name in target]
    values = np.asarray(values)
    if values.shape[-1] != len(names):
        raise LabelError(f"expected {len(names)} columns ({', '.join(names)}), got {values.shape[-1]}")
    if len(set(names)) != len(names) or len(set(wanted)) != len(wanted):
        raise LabelError(f"expected each class once, got {', '.join(names)} for {', '.join(wanted)}")
    lost = set(names) - set(wanted)
    if lost:
        raise LabelError(f"no place for {', '.join(sorted(lost))} in the order {', '.join(wanted)}")
    moved = np.zeros((*values.shape[:-1], len(wanted)), values.dtype)
    for column, name in enumerate(names):
        moved[..., wanted.index(name)] = values[..., column]
    return moved
