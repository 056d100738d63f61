"""Audit a network: for whom it errs more, what bad pictures do to it, and whether it says so when it does not know.

Each picture goes through all that an analysis does: the face is found, judged and read. What is corrupted is the picture,
before the face is looked for. A picture without a face is answered from the mean places of the points, as in
`mien.evaluate.model`, so that no figure gets better by what is left out; its answer counts as not certain.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mien import __version__
from mien.errors import DataError, LabelError, OptionError, UnknownNameError, WeightsError
from mien.evaluate.audit_data import AuditData, Groups, groups_of
from mien.evaluate.parts import RESAMPLES, Answers, Gap, draw_parts, gaps_between, part_figures, rounded
from mien.faces.crops import MEAN_POINTS, as_rgb, crop_detector, face_of
from mien.faces.pose import pose_from_points
from mien.faces.quality import QualityLimits, assess
from mien.methods.runner import ExpressionRunner
from mien.transforms.corruptions import CORRUPTIONS, corrupted
from mien.weights.store import Weights, load_weights

LEAST = 30
"""A group of fewer pictures is too small to tell, and is not compared; so is one of too few people for an interval."""
KEEPS = 0.05
"""A corruption may cost certain answers so much accuracy; where it costs more, the network is sure without reason."""
CLEAN = ("none", 0)
Condition = tuple[str, int]
"""A corruption and its severity; `CLEAN` for the picture as it is."""


@dataclass(frozen=True, eq=False)
class Audit:
    """What `audit` found, ready for JSON: rounded to four digits, `None` where undefined.

    Attributes:
        facts: what was audited, on what, how.
        whole: figures of all pictures, see `mien.evaluate.parts.part_figures`.
        groups: column -> `groups` (name, people, too_small, figures, gap to the best group), `largest_gap`, `missing`.
        left_out: column -> why it has no groups; only columns that were not asked for.
        corruptions: name, severity, level, figures; the picture as it is comes first. Empty where none was tried.
        failures: what could not be read, and why.
    """

    facts: dict[str, Any]
    whole: dict[str, Any]
    groups: dict[str, dict[str, Any]]
    left_out: dict[str, str]
    corruptions: list[dict[str, Any]]
    failures: list[str]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**self.facts, **{name: value for name, value in vars(self).items() if name != "facts"}}


def audit(
    model: str | Path | Weights,
    data: AuditData,
    *,
    by: Sequence[str] | None = None,
    sample: int = 500,
    seed: int = 0,
    threads: int = 0,
    quiet: bool = True,
) -> Audit:
    """Figures by group of any column, and under corruptions.

    Args:
        model: a shipped network by name, or an ONNX file with a contract.
        data: pictures, see `mien.evaluate.audit_data`.
        by: columns; every one that makes two to fifty groups where it is left out.
        sample: corruptions are tried on so many pictures, drawn by chance; 0 for none.
        seed: of that, of the corruptions and of the resamples.
        threads: of one inference, 0 for one a core.
        quiet: no progress bar.

    Raises:
        OptionError: a column that makes no groups.
        UnknownNameError: no such column.
        LabelError: a network without a class of the data.
        WeightsError: no network for expressions, or one that does not take single pictures.
        DataError: nothing could be read.
    """
    columns, left_out = _columns(data, by)
    reader = _Reader(model, data, seed, threads)
    drawn = np.random.default_rng(seed).permutation(len(data.ids))[: max(0, sample)]
    answers, failures = reader.read(set(drawn.tolist()), quiet)
    clean, rows = answers[CLEAN]
    people = _people(data, rows)
    corrupted_rows = next(
        (tried for condition, (_, tried) in answers.items() if condition != CLEAN), rows[:0]
    )
    return Audit(
        facts={
            "model": reader.runner.weights.name,
            "model_sha256": reader.runner.weights.sha256,
            **data.facts,
            "pixels_sha256": reader.pixels.hexdigest(),
            "pictures": len(clean),
            "people": None if people is None else len(set(people)),
            "threshold": clean.threshold,
            "corrupted_pictures": len(corrupted_rows),
            "seed": seed,
            "resamples": RESAMPLES,
            "mien": __version__,
            "machine": platform.machine(),
            "date": date.today().isoformat(),
        },
        whole=part_figures(draw_parts(clean, [np.arange(len(clean))], people, seed)[0]),
        groups={name: by_group(groups, clean, rows, people, seed) for name, groups in columns.items()},
        left_out=left_out,
        corruptions=[] if not len(corrupted_rows) else _corruptions(answers, corrupted_rows, data, seed),
        failures=failures,
    )


def by_group(
    groups: Groups, answers: Answers, rows: np.ndarray, people: Sequence[str] | None = None, seed: int = 0
) -> dict[str, Any]:
    """Figures of each group of one column, the gap of each to the best one, and the largest gap.

    Args:
        groups: of all pictures.
        answers: of those that could be read; `rows` says which they are.
        people: of those.
        seed: of the resamples.
    """
    place = {row: index for index, row in enumerate(rows.tolist())}
    parts = [
        (name, np.array([place[row] for row in members.tolist() if row in place], int))
        for name, members in groups
    ]
    parts = [(name, members) for name, members in parts if len(members)]
    drawn = draw_parts(answers, [members for _, members in parts], people, seed)
    figures = [part_figures(one) for one in drawn]
    told = [
        number
        for number, one in enumerate(figures)
        if one["samples"] >= LEAST and one["accuracy_95"][0] is not None
    ]
    gaps = gaps_between([drawn[number] for number in told])
    best = max(told, key=lambda number: drawn[number].figures["accuracy"][0], default=None)
    lines = []
    for number, ((name, members), one) in enumerate(zip(parts, figures, strict=True)):
        own = [gap for gap in gaps if {told[gap.better], told[gap.worse]} == {best, number}]
        lines.append(
            {
                "name": name,
                "people": None if people is None else len({people[row] for row in members}),
                "too_small": number not in told,
                **one,
                "gap": 0.0 if number == best else (rounded(own[0].gap) if own else None),
                "gap_95": _ends(own[0]) if own else [None, None],
            }
        )
    names = [parts[number][0] for number in told]
    return {"missing": groups.missing, "groups": lines, "largest_gap": _largest(gaps, names)}


def _largest(gaps: Sequence[Gap], names: Sequence[str]) -> dict[str, Any] | None:
    if not gaps:
        return None
    gap = gaps[0]
    return {
        "better": names[gap.better],
        "worse": names[gap.worse],
        "gap": rounded(gap.gap),
        "gap_95": _ends(gap),
        "excludes_zero": gap.excludes_zero if np.isfinite(gap.low) else None,
    }


def _ends(gap: Gap) -> list[float | None]:
    return [rounded(gap.low), rounded(gap.high)]


def _corruptions(
    answers: dict[Condition, tuple[Answers, np.ndarray]], tried: np.ndarray, data: AuditData, seed: int
) -> list[dict[str, Any]]:
    """Figures of each corruption on the pictures that were tried, after those of the same pictures as they are."""
    clean, rows = answers[CLEAN]
    same = clean.of(np.isin(rows, tried))
    people = _people(data, tried)
    lines = []
    for condition in (CLEAN, *(one for one in answers if one != CLEAN)):
        name, severity = condition
        ones = same if condition == CLEAN else answers[condition][0]
        figures = part_figures(draw_parts(ones, [np.arange(len(ones))], people, seed)[0])
        level = None if condition == CLEAN else CORRUPTIONS[name].levels[severity - 1]
        lines.append({"name": name, "severity": severity, "level": level, **figures})
    return [{**line, "says_so": None if line is lines[0] else says_so(line, lines[0])} for line in lines]


def says_so(worse: Mapping[str, Any], clean: Mapping[str, Any]) -> bool | None:
    """Whether certain answers stay as right as on the same pictures as they are, within `KEEPS`.

    `None` where fewer than `LEAST` answers are certain in one of the two: too few to tell.
    """
    if any(line["certain"] * line["samples"] < LEAST - 0.5 for line in (worse, clean)):
        return None
    return bool(worse["certain_accuracy"] >= clean["certain_accuracy"] - KEEPS)


def _columns(data: AuditData, by: Sequence[str] | None) -> tuple[dict[str, Groups], dict[str, str]]:
    """Groups of the columns that were asked for, or of all that make some; and why others do not."""
    found, left_out = {}, {}
    for name in data.columns if by is None else by:
        if name not in data.columns:
            raise UnknownNameError("column to group by", name, data.columns)
        try:
            found[name] = groups_of(data.columns[name])
        except OptionError as error:
            if by is not None:
                raise OptionError(
                    f"expected two to fifty groups in the column {name!r}, got {error}"
                ) from None
            left_out[name] = str(error)
    return found, left_out


def _people(data: AuditData, rows: np.ndarray) -> list[str] | None:
    return None if data.subjects is None else [data.subjects[row] for row in rows]


class _Reader:
    """Reads pictures as they are and corrupted, one at a time, so that memory does not grow with their number."""

    batch = 64

    def __init__(self, model: str | Path | Weights, data: AuditData, seed: int, threads: int) -> None:
        self.runner = ExpressionRunner(model if isinstance(model, Weights) else load_weights(model), threads)
        if self.runner.preprocess.frames is not None or self.runner.preprocess.of_mesh:
            raise WeightsError(
                f"expected a network for single pictures, got {self.runner.weights.name!r}. Measure it with `mien evaluate`."
            )
        lacking = [name for name in data.labels if name not in self.runner.weights.labels]
        if lacking:
            raise LabelError(
                f"expected a network with the classes {', '.join(data.labels)}, got one without {', '.join(lacking)}"
            )
        self.data, self.seed = data, seed
        self.detector = crop_detector(threads)
        self.pixels = hashlib.sha256()

    def read(
        self, corrupt: set[int], quiet: bool
    ) -> tuple[dict[Condition, tuple[Answers, np.ndarray]], list[str]]:
        """Answers and rows of each condition, and what could not be read; `CLEAN` is always there.

        Raises:
            DataError: nothing could be read.
        """
        kept: dict[Condition, list[tuple[int, bool, bool]]] = {}
        logits: dict[Condition, list[np.ndarray]] = {}
        waiting: list[tuple[Condition, np.ndarray]] = []
        failures: list[str] = []

        def flush() -> None:
            outputs = self.runner.logits(np.stack([crop for _, crop in waiting]))
            for (condition, _), row in zip(waiting, outputs, strict=True):
                logits.setdefault(condition, []).append(row)
            waiting.clear()

        for row in tqdm(range(len(self.data.ids)), "audit", disable=quiet, unit="picture", leave=False):
            try:
                image = as_rgb(self.data.read(row))
            except DataError as error:
                failures.append(str(error))
                continue
            for condition, crop, found, reliable in self._seen(image, row, row in corrupt):
                kept.setdefault(condition, []).append((row, found, reliable))
                waiting.append((condition, crop))
            if len(waiting) >= self.batch:
                flush()
        if not kept:
            raise DataError(f"expected pictures, got none that can be read: {'; '.join(failures[:3])}")
        if waiting:
            flush()
        return {one: self._answers(logits[one], kept[one]) for one in kept}, failures

    def _seen(
        self, image: np.ndarray, row: int, corrupt: bool
    ) -> Iterator[tuple[Condition, np.ndarray, bool, bool]]:
        """Crop, whether a face was found and whether it is reliable, of a picture and of what is made of it."""
        crop, found, reliable, points = self._look(image)
        self.pixels.update(crop.tobytes())
        yield CLEAN, crop, found, reliable
        for name in CORRUPTIONS if corrupt else ():
            for severity in (1, 2, 3):
                worse = corrupted(image, points, name, severity, (self.seed, row))
                yield (name, severity), *self._look(worse)[:3]

    def _look(self, image: np.ndarray) -> tuple[np.ndarray, bool, bool, np.ndarray]:
        faces = face_of(image, self.data.framing, self.detector)
        if not len(faces):
            points = MEAN_POINTS * [image.shape[1], image.shape[0]]
            return self.runner.crop(image, points[None])[0][0], False, False, points
        crops, inside = self.runner.crop(image, faces.landmarks_xy_px)
        pose = pose_from_points(faces.landmarks_xy_px)
        quality = assess(crops, inside, faces.box_xyxy_px, faces.detection_score, pose, QualityLimits())
        return crops[0], True, bool(quality.reliable[0]), faces.landmarks_xy_px[0]

    def _answers(
        self, logits: list[np.ndarray], kept: list[tuple[int, bool, bool]]
    ) -> tuple[Answers, np.ndarray]:
        scores = self.runner.probabilities(np.stack(logits))
        # Classes that the data do not have are left out of the answer, as in `mien.evaluate.model`.
        probabilities = np.stack([scores[name] for name in self.data.labels], 1)
        probabilities = probabilities / np.maximum(probabilities.sum(1, keepdims=True), 1e-12)
        rows = np.array([row for row, _, _ in kept])
        found, reliable = (np.array([one[place] for one in kept]) for place in (1, 2))
        threshold = float(self.runner.weights.calibration["threshold"])
        return Answers(probabilities, self.data.truth[rows], found, reliable, threshold), rows
