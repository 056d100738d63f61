"""How sure an answer is, in few characters: never rounded to certainty, for nothing is certain."""

from __future__ import annotations


def percent(share: float) -> str:
    """A share from 0 to 1: "87%", ">99%"; as the page of `mien serve` has it."""
    return ">99%" if share > 0.99 else f"{share:.0%}"


def decimals(share: float) -> str:
    """A share from 0 to 1 with two decimals: "0.87", ">.99"."""
    return ">.99" if share > 0.99 else f"{share:.2f}"
