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
        "rafdb": ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral"),
        "affectnet_8": ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt"),
        "affectnet_7": ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry"),
        "expw": ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"),
        "sfew": ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"),
        "ckplus": ("neutral", "angry", "contempt", "disgust", "fear", "happy", "sad", "surprise"),
        "dfew": ("happy", "sad", "neutral", "angry", "surprise", "disgust", "fear"),
        "ferv39k": ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"),
        "afew": ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"),
    }
)
"""Class order of each source, index 0 first, written in mien's names. RAF-DB's and DFEW's files count from 1."""

MAFW = (*EXPRESSIONS, "anxiety", "helplessness", "disappointment")
"""The eleven single classes of MAFW: mien's eight and three of its own. Its files write names, not numbers."""

COMPOUND_PARTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "happily_surprised": ("happy", "surprise"),
        "happily_disgusted": ("happy", "disgust"),
        "sadly_fearful": ("sad", "fear"),
        "sadly_angry": ("sad", "angry"),
        "sadly_surprised": ("sad", "surprise"),
        "sadly_disgusted": ("sad", "disgust"),
        "fearfully_angry": ("fear", "angry"),
        "fearfully_surprised": ("fear", "surprise"),
        "angrily_surprised": ("angry", "surprise"),
        "angrily_disgusted": ("angry", "disgust"),
        "disgustedly_surprised": ("disgust", "surprise"),
    }
)
"""The two expressions that each compound class is made of."""

COMPOUND_RAFDB = tuple(COMPOUND_PARTS)
"""The eleven compound classes in the order of RAF-DB's files, which count from 1 (from memory)."""


def _counted(names: Sequence[str], first: int) -> Mapping[str, str]:
    return MappingProxyType({str(number): name for number, name in enumerate(names, first)})


CODES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "rafdb": _counted(ORDERS["rafdb"], 1),
        "rafdb_compound": _counted(COMPOUND_RAFDB, 1),
        "affectnet": _counted(ORDERS["affectnet_8"], 0),
        "expw": _counted(ORDERS["expw"], 0),
        "ckplus": _counted(ORDERS["ckplus"], 0),
        "dfew": _counted(ORDERS["dfew"], 1),
        "mafw": MappingProxyType(
            {
                "anger": "angry",
                "anxiety": "anxiety",
                "contempt": "contempt",
                "disappointment": "disappointment",
                "disgust": "disgust",
                "fear": "fear",
                "happiness": "happy",
                "helplessness": "helplessness",
                "neutral": "neutral",
                "sadness": "sad",
                "surprise": "surprise",
            }
        ),
        "jaffe": MappingProxyType(
            {
                "AN": "angry",
                "DI": "disgust",
                "FE": "fear",
                "HA": "happy",
                "NE": "neutral",
                "SA": "sad",
                "SU": "surprise",
            }
        ),
        "kdef": MappingProxyType(
            {
                "AF": "fear",
                "AN": "angry",
                "DI": "disgust",
                "HA": "happy",
                "NE": "neutral",
                "SA": "sad",
                "SU": "surprise",
            }
        ),
    }
)
"""What each source writes for a class in its files: source -> code -> mien's name."""

SYNONYMS: Mapping[str, str] = MappingProxyType(
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
"""What data sets call the eight classes, in lower case -> mien's name."""


def canonical(label: str) -> str:
    """Mien's name of a class: `canonical("Happiness") == "happy"`.

    Raises:
        UnknownNameError: the label is none of the eight nor a known synonym of one.
    """
    name = SYNONYMS.get(label.strip().lower())
    if name is None:
        raise UnknownNameError("expression label", label, SYNONYMS)
    return name


def from_code(source: str, code: str) -> str:
    """Mien's name for what a source writes in its files: `from_code("kdef", "AF") == "fear"`.

    Raises:
        UnknownNameError: no such source, or it has no such code.
    """
    if source not in CODES:
        raise UnknownNameError("source of codes", source, CODES)
    if code not in CODES[source]:
        raise UnknownNameError(f"code of {source!r}", code, CODES[source])
    return CODES[source][code]


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
