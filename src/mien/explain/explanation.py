"""The explanation of one face: sentences, and the facts that they are made of."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mien.labels.action_units import ACTION_UNITS, unit_label


@dataclass(frozen=True)
class Observation:
    """What was measured of one unit.

    Attributes:
        unit: FACS number.
        name: FACS name.
        value: as measured.
        scale: "intensity" (0 to 5) or "probability" (0 to 1).
        seen: it is over a trace; see `mien.explain.words.SEEN`.
        letter: FACS letter A to E of an intensity over 0.5; `None` below, and of a probability.
        side: "left", "right" (the stronger one) or "both"; `None` where the sides were not told, or it is not seen.
        speaks_for: the expressions that it speaks for most, strongest first.
        text: the sentence; empty for a unit that is not seen.
    """

    unit: int
    name: str
    value: float
    scale: str
    seen: bool
    letter: str | None
    side: str | None
    speaks_for: tuple[str, ...]
    text: str


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a face is read as it is.

    Attributes:
        observed: the observations as sentences.
        observations: the units that are seen, plainest first.
        interpretation: how they combine, what contradicts, and whether units and network agree.
        conclusion: the network's label, its confidence and the runner-up.
        evidence: expression -> score in [0, 1], NaN where too little was measured; empty without units.
        disagreement: in [0, 1]; NaN where it cannot be told.
        flags: of "disagrees", "uncertain", "unreliable", "not_measured", "partly_measured", "nothing_seen".
        label: the network's most probable class.
        probabilities: class -> calibrated probability.
        others: the units that were measured and are not seen.
        affect: "valence" and "arousal", derived from the probabilities; empty for classes of your own.
        regions: region of the face -> share of the heat map, as it was given.
        reasons: what speaks against the picture, as it was given.
        headings: of the three parts, in the language of the text.
    """

    observed: str
    observations: tuple[Observation, ...]
    interpretation: str
    conclusion: str
    evidence: dict[str, float]
    disagreement: float
    flags: tuple[str, ...]
    label: str
    probabilities: dict[str, float]
    others: tuple[Observation, ...]
    affect: dict[str, float]
    regions: dict[str, float]
    reasons: str
    headings: tuple[str, ...]

    @property
    def text(self) -> str:
        """The three parts, each with its heading."""
        parts = (self.observed, self.interpretation, self.conclusion)
        return "\n".join(f"{heading}: {part}" for heading, part in zip(self.headings, parts, strict=True))

    def facts(self) -> dict[str, Any]:
        """All that the words are made of, ready for JSON: no sentence, no picture; what was not told is `None`."""
        return {
            "label": self.label,
            "probabilities": _rounded(self.probabilities),
            "units_seen": [_facts(one) for one in self.observations],
            "units_not_seen": [_facts(one) for one in self.others],
            "units_not_measured": [
                unit_label(unit) for unit in ACTION_UNITS if unit not in {one.unit for one in self.measured}
            ],
            "evidence": _rounded(self.evidence),
            "disagreement": _number(self.disagreement),
            "affect_derived": _rounded(self.affect),
            "regions": _rounded(self.regions),
            "quality_reasons": self.reasons,
            "flags": list(self.flags),
        }

    def to_dict(self) -> dict[str, Any]:
        """The facts and the sentences, ready for JSON."""
        return {
            **self.facts(),
            "observations": self.observed,
            "interpretation": self.interpretation,
            "conclusion": self.conclusion,
        }

    def to_json(self) -> str:
        """`to_dict` as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    @property
    def measured(self) -> tuple[Observation, ...]:
        """Every unit that was measured, seen or not."""
        return self.observations + self.others


def _facts(one: Observation) -> dict[str, Any]:
    return {
        "unit": unit_label(one.unit),
        "name": one.name,
        one.scale: _number(one.value),
        "facs_letter": one.letter,
        "side": one.side,
        "speaks_for": list(one.speaks_for),
    }


def _number(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None


def _rounded(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in values.items()}
