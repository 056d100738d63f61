"""The comparison of static and temporal heads, on features that are made up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mien.recipes import ckplus_clips as module
from mien.recipes.ckplus_clips import ClipFeatures, facts_of, measure_systems, write

LABELS = ("happy", "surprise", "sad")


def made_up(people: int = 30, seed: int = 0) -> ClipFeatures:
    """Classes 1 and 2 have one last frame and differ by how they came there; class 0 differs by its last frame."""
    random = np.random.default_rng(seed)
    names = np.repeat([f"S{person:03d}" for person in range(people)], 4)
    truth = random.integers(0, 3, len(names))
    values = random.normal(0, 0.3, (len(names), 3, 6))
    values[:, 2, 0] += 3 * (truth == 0)
    values[:, 0, 1] += np.array([0, 3, -3])[truth]
    return ClipFeatures(values, truth, names, LABELS, {"data": "drawn"})


@pytest.fixture(scope="module")
def found() -> dict:
    patch = pytest.MonkeyPatch()
    patch.setattr(module, "RIDGES", (0.1,))
    patch.setattr(module, "EPOCHS", 40)
    patch.setattr(module, "PROTOCOL", "ckplus48_clips_7")
    answer = measure_systems(made_up(), seeds=1)
    patch.undo()
    return answer


def test_time_is_found_where_it_is_and_only_there(found: dict) -> None:
    scores = {name: figures["accuracy"] for name, figures in found["systems"].items()}
    for blind in ("linear, last frame", "transformer, last frame"):
        assert scores[blind] < 0.8
    for seeing in ("linear, last and change", "transformer, three frames"):
        assert scores[seeing] > 0.9
    change = found["differences"][1]
    assert change["to"] == "linear, last and change" and change["p_over_people"] < 0.01
    assert change["accuracy"] == pytest.approx(scores[change["to"]] - scores[change["from"]], abs=2e-4)


def test_nobody_answers_for_himself() -> None:
    """A head that knows people by heart is no better than chance on other people."""
    clips = made_up()
    person = np.unique(clips.people, return_inverse=True)[1]
    ids = np.eye(person.max() + 1)[person]
    seen: list[set[str]] = []

    def answer(values, truth, people, asked, seed):  # type: ignore[no-untyped-def]
        assert not (values.sum(0) * asked.sum(0)).any()
        seen.append(set(people))
        return np.full((len(asked), 3), 1 / 3)

    module.across_folds(module.load_protocol(module.PROTOCOL), clips, ids, answer, 0)
    assert len(seen) == 10


def test_the_report_is_whole(found: dict, tmp_path: Path) -> None:
    page = write(found, facts_of(made_up(), 1), tmp_path)
    stored = json.loads((tmp_path / "clips.json").read_text())
    assert set(stored) == {"facts", "systems", "differences"} and stored["facts"]["data"] == "drawn"
    assert page == (tmp_path / "clips.md").read_text() and page.count("| linear, last frame |") == 4
    assert not list(tmp_path.glob("*.part"))
