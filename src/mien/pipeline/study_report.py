"""The report of a study as one HTML file: what was found, what was left out, and words for a paper's methods."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from mien import __version__
from mien.evaluate import page
from mien.files import made_folder, write_whole
from mien.pipeline.analyzer import Analyzer
from mien.pipeline.events import EVENTS_STEP_S
from mien.pipeline.study import Study, write_tables
from mien.pipeline.study_measures import BLINKS_STEP_S
from mien.pipeline.study_plots import PLOTS, draw_study
from mien.pipeline.study_summary import RESAMPLES, conditions_of
from mien.weights.catalogue import CATALOGUE
from mien.weights.store import load_weights

FEW = 10
"""Under so many participants a resampled interval is too narrow: see docs/study.md."""
MANY = 20
"""Longer lists are folded."""
LIMITS = (
    "An expression is the look of a face in a picture. It is not what a person feels, and not what a person means.",
    "Probabilities are the network's, calibrated on web photographs. Values of a lab, a camera or a group of people that "
    "it was not measured on may be off for all conditions alike; differences within a person are safer than levels. "
    "`mien audit` measures that on pictures with labels.",
    "Valence and arousal are derived from the probabilities of expressions; they were not measured.",
    "Stimuli and sessions are carried along in the tables and averaged over; they are not modelled. Intervals are over "
    "participants, so they say nothing about other stimuli.",
    "Intervals are of one number each. Among many, some exclude 0 by chance.",
)


def write_study(study: Study, analyzer: Analyzer, folder: Path) -> None:
    """Write the tables, the plots and `report.html`.

    Raises:
        OptionError: the folder is a file.
        MissingExtraError: matplotlib is missing.
    """
    folder = made_folder(folder, "write the report to")
    write_tables(study, folder)
    pictures = draw_study(study)
    page.write_pictures(folder, pictures, PLOTS)
    write_whole(folder / "report.html", to_html(study, facts_of(study, analyzer), pictures))


def facts_of(study: Study, analyzer: Analyzer) -> dict[str, Any]:
    """All that changes the numbers: versions, networks, options."""
    options, weights = study.options, analyzer.runner.weights
    mesh = {} if analyzer.mesh is None else {"mesh sha256": CATALOGUE["face_landmarker"].sha256}
    return {
        "files from": study.plan.source,
        "mien": __version__,
        "network": weights.name,
        "network sha256": weights.sha256,
        "detector": "yunet",
        "detector sha256": load_weights("yunet").sha256,
        **mesh,
        "threshold of certain answers": float(weights.calibration["threshold"]),
        "one frame every": "frame" if options.every_s is None else f"{options.every_s:g} s",
        "smallest face looked for, px": analyzer.detector.min_face_px,
        "detection threshold": analyzer.detector.score_threshold,
        "whole frame searched every": f"{analyzer.detect_every} frames",
        "quality limits": ", ".join(f"{name} {value:g}" for name, value in vars(analyzer.limits).items()),
        "baseline": _baseline_words(study),
        "resamples": RESAMPLES,
        "seed": options.seed,
        "Python": platform.python_version(),
        "numpy": np.__version__,
        "ONNX Runtime": onnxruntime.__version__,
        "machine": platform.machine(),
        "date": date.today().isoformat(),
    }


def to_html(
    study: Study, facts: Mapping[str, Any], pictures: Mapping[str, tuple[bytes, str]] | None = None
) -> str:
    """The report; `pictures` are PNG and caption by name."""
    plan, measured = study.plan, conditions_of(study.participants)
    title = f"Study: {plan.folder.resolve().name}"
    parts = [
        page.paragraph(_overview(study)),
        page.paragraph("An expression is the look of a face, not what a person feels.", "soft"),
        page.bullets(_warnings(study)),
    ]
    if measured:
        parts += [page.heading("Conditions"), _condition_table(study)]
    drawn = {name: page.figure(png, text) for name, (png, text) in (pictures or {}).items()}
    parts += [html for name, html in drawn.items() if name != "differences.png"]
    if measured:
        parts += [page.folded("All means with intervals", [_means(study)])]
    parts += _difference_parts(study, drawn.get("differences.png", ""))
    if plan.left_out or study.failures or plan.notes:
        parts += [page.heading("What was left out, and what to look at")]
        parts += [page.bullets(plan.notes)]
        left_out = page.table(("file", "not analysed, because"), plan.left_out)
        many = len(plan.left_out) > MANY
        parts += [
            page.folded(f"{len(plan.left_out):,} that were not analysed", [left_out]) if many else left_out
        ]
        failures = [(row["path"], row["frames"], row["error"]) for row in study.failures]
        parts += [page.table(("file", "frames read", "what went wrong"), failures)]
    parts += [page.heading("Files"), page.folded(f"All {len(study.files):,} files", [_file_table(study)])]
    parts += [page.heading("Methods"), *(page.paragraph(text) for text in methods_text(study, facts))]
    parts += [page.heading("Limits"), page.bullets(LIMITS)]
    parts += [page.heading("Versions and options"), page.table(("what", "value"), list(facts.items()))]
    return page.page(title, parts)


def methods_text(study: Study, facts: Mapping[str, Any]) -> list[str]:
    """Paragraphs that say how the numbers came about, for a paper."""
    options = study.options
    mesh = "au01_intensity_mean" in study.measures
    reading = (
        f'Facial expressions were read with mien {facts["mien"]} (network "{facts["network"]}", sha256 '
        f"{facts['network sha256']}), which gives calibrated probabilities of {_listed(study)}. Faces were found by YuNet "
        f"(sha256 {facts['detector sha256']}). "
        + (
            "Every frame of a clip was read"
            if options.every_s is None
            else f"Of clips, one frame every {options.every_s:g} s was read"
        )
        + ". Of each file one face was analysed: the one longest in sight, or the largest of a picture; others were left out. "
    )
    if mesh:
        reading += (
            "Action units (0 to 5, on mien's own scale, not that of certified coders) and blinks came from a face mesh "
            f"(MediaPipe's face landmarker, sha256 {facts['mesh sha256']}) by an explicit table. "
        )
    averages = (
        "Values were averaged over the time in which the face was reliable (size, sharpness, light, pose and detection within the "
        "limits below), each frame weighted by how long it stood by the clip's own presentation times. "
        + (
            ""
            if options.baseline is None
            else f"Values are relative to each face at rest ({facts['baseline']}). "
        )
        + "Valence and arousal were derived from the probabilities by places on the circumplex. "
        f"Events are stretches in which the smoothed probability of an expression other than neutral stays over 0.3 and reaches 0.5; "
        f"they are told of clips with frames at most {EVENTS_STEP_S:g} s apart"
        + (f", blinks of those at most {BLINKS_STEP_S:g} s apart." if mesh else ".")
    )
    summary = (
        "Files of one participant in one condition were averaged with equal weight; then each participant counted once. Means over "
        f"participants have 95 % intervals by the bootstrap over participants (percentiles, {facts['resamples']:,} resamples, seed "
        f"{facts['seed']}). Differences between conditions are within participants, of those who were in both. "
        f"{_comparisons(study)}"
    )
    return [reading, averages, summary]


def _listed(study: Study) -> str:
    names = [measure.text for measure in study.measures.values() if measure.kind == "expression"]
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def _overview(study: Study) -> str:
    people = {row["participant"] for row in study.participants}
    frames = sum(row["frames"] for row in study.files)
    others = sum(row["other_face_frames"] for row in study.files)
    with_others = sum(row["other_faces"] > 0 for row in study.files)
    return (
        f"{len(study.files):,} files, {frames:,} frames, {len(people):,} participants in {len(conditions_of(study.participants))} "
        f"conditions. {len(study.failures)} files could not be read or not to their end; {len(study.plan.left_out)} files or rows "
        f"were not analysed. Other faces than the main one were left out in {with_others:,} files ({others:,} rows)."
    )


def _warnings(study: Study) -> list[str]:
    found = []
    for condition in conditions_of(study.participants):
        own = {row["participant"] for row in study.participants if row["condition"] == condition}
        if len(own) == 1:
            found.append(f"{condition}: one participant, so there is no interval.")
        elif len(own) < FEW:
            found.append(f"{condition}: {len(own)} participants. An interval from so few is too narrow.")
    nothing = [
        row["path"]
        for row in study.files
        if row["frames"] and not row["reliable_s"] and row["unreliable_share"] in (None, 1.0)
    ]
    if nothing:
        found.append(
            f"No reliable face in {len(nothing)} of {len(study.files)} files, which say nothing: {', '.join(nothing[:5])}."
        )
    if study.options.baseline is not None:
        without = [
            row["path"]
            for row in study.files
            if row["frames"] and row["path"] not in nothing and row[next(iter(study.measures))] is None
        ]
        if without:
            found.append(
                f"No face at rest was found in {len(without)} of {len(study.files)} files, whose probabilities are not told: {', '.join(without[:5])}."
            )
    return found


def _condition_table(study: Study) -> str:
    quality = [name for name, measure in study.measures.items() if measure.kind == "quality"]
    rows = []
    for condition in conditions_of(study.participants):
        own = [row for row in study.participants if row["condition"] == condition]
        lines = {row["measure"]: row for row in study.conditions if row["condition"] == condition}
        rows.append(
            [
                condition,
                len(own),
                sum(row["files"] for row in own),
                sum(row["frames"] for row in own),
                *(lines[name]["mean"] for name in quality),
            ]
        )
    head = [study.measures[name].text for name in quality]
    units = "; ".join(f"{study.measures[name].text}: {study.measures[name].unit}" for name in quality)
    return page.table(
        ("condition", "participants", "files", "frames", *head), rows, f"Means over participants. {units}."
    )


def _means(study: Study) -> str:
    conditions = conditions_of(study.participants)
    lines = {(row["condition"], row["measure"]): row for row in study.conditions}
    rows = [
        [measure.text, measure.unit, *(_with(lines[condition, name], "mean") for condition in conditions)]
        for name, measure in study.measures.items()
    ]
    return page.table(("", "unit", *conditions), rows)


def _difference_parts(study: Study, picture: str) -> list[str]:
    told = [row for row in study.differences if row["mean_difference"] is not None]
    if len(conditions_of(study.participants)) < 2:
        return []
    if not told:
        text = "No participant was in two conditions, so there are no differences within participants."
        return [page.heading("Differences within participants"), page.paragraph(text)]
    head = ["conditions", "measure", "difference", "participants"] + (
        ["p (Wilcoxon)", "p (Holm)"] if study.options.test else []
    )
    rows = [
        [
            f"{row['condition_a']} minus {row['condition_b']}",
            study.measures[row["measure"]].text,
            _with(row, "mean_difference"),
            row["participants"],
            *([_p_value(row["p_wilcoxon"]), _p_value(row["p_holm"])] if study.options.test else []),
        ]
        for row in told
    ]
    return [
        page.heading("Differences within participants"),
        page.paragraph(_comparisons(study)),
        picture,
        page.folded("All differences", [page.table(head, rows)]),
    ]


def _p_value(value: float | None) -> str | float | None:
    return "under 0.001" if value is not None and value < 0.001 else value


def _comparisons(study: Study) -> str:
    told = [row for row in study.differences if row["mean_difference"] is not None]
    apart = sum(row["low_95"] is not None and (row["low_95"] > 0 or row["high_95"] < 0) for row in told)
    test = (
        " P-values are of Wilcoxon's signed-rank test, adjusted by Holm for all of them."
        if study.options.test
        else ""
    )
    few = min((row["participants"] for row in told), default=FEW) < FEW
    chance = (
        f"with under {FEW} participants intervals are too narrow, and many more than one in twenty exclude 0 by chance"
        if few
        else f"about {0.05 * len(told):.1f} would do so by chance alone if nothing differed"
    )
    return (
        f"There are {len(told)} comparisons (pairs of conditions times measures); the interval of {apart} excludes 0, and "
        f"{chance}.{test}"
    )


def _file_table(study: Study) -> str:
    head = (
        "file",
        "participant",
        "condition",
        "stimulus",
        "frames",
        "face in sight",
        "not reliable",
        "certain",
        "others",
    )
    rows = [
        [
            row["path"], row["participant"], row["condition"], row["stimulus"], row["frames"], row["in_sight_share"],
            row["unreliable_share"], row["certain_share"], row["other_faces"],
        ]
        for row in study.files
    ]  # fmt: skip
    return page.table(head, rows)


def _baseline_words(study: Study) -> str:
    wish = study.options.baseline
    if wish is None:
        return "none"
    if isinstance(wish, tuple):
        return f"{wish[0]:g} to {wish[1]:g} s of each clip"
    return "the calmest fifth of each face's time" if wish == "auto" else f"the file {Path(wish).name}"


def _with(row: Mapping[str, Any], name: str) -> str:
    return page.with_ends(row[name], (row["low_95"], row["high_95"]))
