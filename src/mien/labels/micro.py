"""The three classes of micro-expressions (MEGC 2019), and how the classes of each data set fall into them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mien.labels.expressions import canonical

MICRO = ("negative", "positive", "surprise")
"""The three classes in the order of HTNet's lists, index 0 first."""

OWN = ("repression", "others")
"""Classes of micro-expression sets beside mien's eight."""

MICRO_OF: Mapping[str, str] = MappingProxyType(
    {
        "happy": "positive",
        "surprise": "surprise",
        **dict.fromkeys(("disgust", "repression", "angry", "contempt", "fear", "sad"), "negative"),
        **{name: name for name in MICRO},
    }
)
"""A set's class -> one of `MICRO`; what is not named ("others") has none (from memory)."""


def micro_canonical(label: str) -> str:
    """Mien's name of a class in a micro-expression set: "Happiness" is "happy", "Other" is "others".

    Raises:
        UnknownNameError: it is none of the eight, of `OWN` or of `MICRO`.
    """
    name = label.strip().lower()
    name = "others" if name == "other" else name
    return name if name in (*OWN, *MICRO) else canonical(name)
