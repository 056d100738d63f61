"""The report of `mien.recipes.micro_loso`: UF1 and UAR of every system in a folder, and what choosing by looking adds.

Files of other data than the protocol's in the same folder are left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from mien.datasets.protocol import Protocol
from mien.engine.pictures import Pictures
from mien.files import write_whole
from mien.methods.method import METHODS
from mien.metrics.bootstrap import bootstrap_interval
from mien.metrics.classification import confusion, uar
from mien.metrics.micro import COMPOSITE, composite_scores, subject_intervals, uf1

BASELINE = "pca_linear"
RESAMPLES = 2000
PEEKED = "selected on the tested person: not a result"


def read_answers(path: Path, count: int) -> tuple[dict[str, Any], np.ndarray, list[dict[str, Any]]]:
    """A file of `run_system`: its facts, the class answered for each clip (N,), -1 where its fold is not done, its folds."""
    facts, *folds = map(json.loads, path.read_text().splitlines())
    answers = np.full(count, -1)
    for fold in folds:
        answers[fold["rows"]] = np.argmax(fold["scores"], 1)
    return facts, answers, folds


def peeked(folds: Sequence[dict[str, Any]], truth: np.ndarray) -> np.ndarray | None:
    """What would be answered if the epoch were chosen on each left-out person: the first with the most right answers.

    NOT a result: it looks at the answers that it reports. `None` for systems without epochs.
    """
    answers = np.full(len(truth), -1)
    for fold in folds:
        if "by_epoch" not in fold:
            return None
        epochs = np.array(fold["by_epoch"])
        answers[fold["rows"]] = epochs[np.argmax((epochs == truth[fold["rows"]]).sum(1))]
    return answers


def figures_of(
    answers: np.ndarray, truth: np.ndarray, parts: np.ndarray, people: np.ndarray, classes: int
) -> dict[str, Any]:
    """UF1 and UAR of the composite and the parts, and intervals by person of the composite."""
    figures: dict[str, Any] = composite_scores(truth, answers, parts, classes)
    figures[COMPOSITE] |= {
        f"{name}_95": [round(bound, 4) for bound in bounds]
        for name, bounds in subject_intervals(truth, answers, people, classes, RESAMPLES).items()
    }
    return figures


def gains(
    answers: Sequence[np.ndarray], baseline: np.ndarray, truth: np.ndarray, people: np.ndarray, classes: int
) -> dict[str, Any]:
    """Mean over seeds of UF1 and UAR less the baseline's, with 95 % intervals: the same people drawn for both."""
    found = {}
    for name, figure in (("uf1", uf1), ("uar", uar)):

        def gain(rows: np.ndarray, figure: Callable[[np.ndarray], float] = figure) -> float:
            scores = [figure(confusion(truth[rows], one[rows], classes)) for one in (baseline, *answers)]
            return mean(scores[1:]) - scores[0]

        low, high = bootstrap_interval(gain, len(truth), RESAMPLES, clusters=people)
        found[name] = {"gain": gain(np.arange(len(truth))), "low": low, "high": high}
    return found


def measure_folder(folder: Path, pictures: Pictures, protocol: Protocol) -> dict[str, Any]:
    """Every system of the folder whose folds are all done; of the others how far they are."""
    truth, people = pictures.truth.numpy(), np.array(pictures.subjects)
    parts = np.array([name.split("/")[0] for name in pictures.ids])
    classes = len(protocol.labels)
    systems: dict[str, Any] = {}
    kept: dict[str, list[np.ndarray]] = {}
    for path in sorted(folder.glob("*.jsonl")):
        facts, answers, folds = read_answers(path, len(truth))
        if facts["data_sha256"] != pictures.sha256:
            continue
        found = systems.setdefault(facts["system"], {"runs": [], "unfinished": []})
        cpu_s = round(sum(fold["cpu_s"] for fold in folds), 1)
        if (answers < 0).any():
            found["unfinished"].append({"seed": facts["seed"], "folds": len(folds), "cpu_s": cpu_s})
            continue
        run = {**facts, "cpu_s": cpu_s, "figures": figures_of(answers, truth, parts, people, classes)}
        looked = peeked(folds, truth)
        if looked is not None:
            run["chosen_on_the_test_person"] = composite_scores(truth, looked, parts, classes)
        found["runs"].append(run)
        kept.setdefault(facts["system"], []).append(answers)
    for name, answered in kept.items():
        runs = systems[name]["runs"]
        systems[name]["mean"] = _means([run["figures"] for run in runs])
        if all("chosen_on_the_test_person" in run for run in runs):
            systems[name]["mean_chosen_on_the_test_person"] = _means(
                [run["chosen_on_the_test_person"] for run in runs]
            )
        if name != BASELINE and BASELINE in kept:
            systems[name]["over_baseline"] = gains(answered, kept[BASELINE][0], truth, people, classes)
    return {"protocol": protocol.name, "source": protocol.source, "systems": systems}


def _means(figures: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    return {
        part: {name: mean(one[part][name] for one in figures) for name in ("uf1", "uar")}
        for part in figures[0]
    }


def to_markdown(found: dict[str, Any]) -> str:
    """The report as a page."""
    parts = list(dict.fromkeys(part for one in found["systems"].values() for part in one.get("mean", {})))
    lines = [
        f"# Micro-expressions, one person left out: {found['protocol']}",
        "",
        "UF1 / UAR of the answers of all folds pooled; nothing was chosen on the person who is left out. Intervals: 95 %,",
        "whole people drawn with replacement; one seed's where there are several.",
        "",
        f"| system | seeds | {' | '.join(parts)} | 95 % of UF1 | 95 % of UAR | CPU s a seed | {PEEKED} |",
        "|" + "---|" * (len(parts) + 6),
    ]
    for name, one in found["systems"].items():
        lines += [_row(name, one, parts)] if one["runs"] else []
        for open_run in one["unfinished"]:
            lines.append(
                f"| {name} | {open_run['seed']} | not finished: {open_run['folds']} folds"
                + " |" * (len(parts) + 4)
            )
    return "\n".join([*lines, *_over(found), *_looked(found, parts), *_reported(found)]) + "\n"


def _row(name: str, one: dict[str, Any], parts: Sequence[str]) -> str:
    cells = [f"{one['mean'][part]['uf1']:.3f} / {one['mean'][part]['uar']:.3f}" for part in parts]
    first = one["runs"][0]["figures"][COMPOSITE]
    bounds = ["{:.3f} to {:.3f}".format(*first[f"{figure}_95"]) for figure in ("uf1", "uar")]
    seeds = ", ".join(str(run["seed"]) for run in one["runs"])
    cpu = mean(run["cpu_s"] for run in one["runs"])
    peek = one.get("mean_chosen_on_the_test_person")
    looked = "no epochs" if peek is None else _with_gain(peek[COMPOSITE], one["mean"][COMPOSITE])
    return f"| {name} | {seeds} | {' | '.join([*cells, *bounds])} | {cpu:.0f} | {looked} |"


def _with_gain(peek: dict[str, float], honest: dict[str, float]) -> str:
    """UF1 / UAR of a choice by looking, and in brackets what it adds."""
    return " / ".join(f"{peek[name]:.3f} ({peek[name] - honest[name]:+.3f})" for name in ("uf1", "uar"))


def _over(found: dict[str, Any]) -> list[str]:
    told = {name: one["over_baseline"] for name, one in found["systems"].items() if "over_baseline" in one}
    lines = ["", f"Over `{BASELINE}`, the same people drawn for both:", ""] if told else []
    for name, both in told.items():
        said = ", ".join(
            f"{figure.upper()} {one['gain']:+.3f} ({one['low']:+.3f} to {one['high']:+.3f})"
            for figure, one in both.items()
        )
        lines.append(f"- {name}: {said}")
    return lines


def _looked(found: dict[str, Any], parts: Sequence[str]) -> list[str]:
    """The column of choices by looking, set by set."""
    told = {name: one for name, one in found["systems"].items() if "mean_chosen_on_the_test_person" in one}
    if not told:
        return []
    lines = [
        "",
        f"## {PEEKED.capitalize()}",
        "",
        "The same runs, had the best epoch of each person been taken by looking at that person, as is found in the field.",
        "",
        f"| system | {' | '.join(parts)} |",
        "|" + "---|" * (len(parts) + 1),
    ]
    for name, one in told.items():
        cells = [_with_gain(one["mean_chosen_on_the_test_person"][part], one["mean"][part]) for part in parts]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _reported(found: dict[str, Any]) -> list[str]:
    """What the authors of the networks report."""
    recipes = [run["recipe"] for one in found["systems"].values() for run in one["runs"] if run["recipe"]]
    papers = {METHODS[recipe["method"]].paper.title: recipe["method"] for recipe in recipes}
    methods = [name for name in METHODS if METHODS[name].paper.title in papers and METHODS[name].reported]
    lines = ["", "## Reported by the authors, not measured here", ""] if methods else []
    for name in methods:
        told = METHODS[name].reported
        said = ", ".join(f"{one.dataset} {one.metric.upper()} {one.value:g}" for one in told)
        lines.append(f"- {name}: {said} ({told[0].where})")
    return lines


def write_report(folder: Path, pictures: Pictures, protocol: Protocol) -> str:
    """Write `micro.json` and `micro.md`, each whole; gives the page."""
    found = measure_folder(folder, pictures, protocol)
    page = to_markdown(found)
    write_whole(folder / "micro.json", json.dumps(found, indent=1) + "\n")
    write_whole(folder / "micro.md", page)
    return page
