"""Action units of the Facial Action Coding System, by number and by name, and the sets that data sets code.

Numbers and names: Ekman, Friesen and Hager, "Facial Action Coding System", 2002 (names from memory). An intensity
runs from 0 (not there) over 1 (trace, FACS letter A) to 5 (maximum, E). Left and right are the subject's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from mien.errors import LabelError

ACTION_UNITS: Mapping[int, str] = MappingProxyType(
    {
        1: "inner brow raiser",
        2: "outer brow raiser",
        4: "brow lowerer",
        5: "upper lid raiser",
        6: "cheek raiser",
        7: "lid tightener",
        9: "nose wrinkler",
        10: "upper lip raiser",
        11: "nasolabial deepener",
        12: "lip corner puller",
        13: "sharp lip puller",
        14: "dimpler",
        15: "lip corner depressor",
        16: "lower lip depressor",
        17: "chin raiser",
        18: "lip pucker",
        20: "lip stretcher",
        21: "neck tightener",
        22: "lip funneler",
        23: "lip tightener",
        24: "lip pressor",
        25: "lips part",
        26: "jaw drop",
        27: "mouth stretch",
        28: "lip suck",
        34: "cheek puff",
        43: "eyes closed",
        45: "blink",
    }
)
"""FACS number -> name."""

UNIT_SETS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "bp4d": (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24),
        "disfa": (1, 2, 4, 6, 9, 12, 25, 26),
        "disfa_intensity": (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26),
        "ckplus": (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 16, 17, 18, 20, 21, 22, 23, 24, 25, 26, 27),
        "abaw": (1, 2, 4, 6, 7, 10, 12, 15, 23, 24, 25, 26),
    }
)
"""Units of a data set, in the order of its labels and of a network's outputs."""


def unit_label(unit: int) -> str:
    """The short name, such as "AU12" for 12.

    Raises:
        LabelError: no action unit has that number.
    """
    if unit not in ACTION_UNITS:
        raise LabelError(
            f"expected an action unit of {', '.join(map(str, ACTION_UNITS))}, got {unit!r}. See ACTION_UNITS."
        )
    return f"AU{unit}"


def unit_number(label: str | int) -> int:
    """12 for "AU12", "au_12", "12" or 12.

    Raises:
        LabelError: it names no action unit.
    """
    digits = str(label).lower().removeprefix("au").strip("_ ")
    number = int(digits) if digits.isdecimal() else -1
    if number not in ACTION_UNITS:
        raise LabelError(f"expected an action unit such as AU12, got {label!r}. See ACTION_UNITS.")
    return number


def unit_numbers(labels: Iterable[str | int]) -> tuple[int, ...]:
    """Several at once; see `unit_number`."""
    return tuple(unit_number(label) for label in labels)
