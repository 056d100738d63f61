"""What annotators noted of a face beside its expression, in the orders of the sets that say so."""

from __future__ import annotations

from collections.abc import Mapping

RAFDB_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "gender": ("male", "female", "unsure"),
    "race": ("caucasian", "african-american", "asian"),
    "age": ("0-3", "4-19", "20-39", "40-69", "70+"),
}
"""RAF-DB's, in the order of the lines of a `*_manu_attri.txt`, after five points (the set's README)."""
