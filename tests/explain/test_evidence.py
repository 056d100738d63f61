from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.errors import LabelError, ShapeError
from mien.explain.affect import derived_affect
from mien.explain.evidence import DISAGREES, disagreement, evidence_for, intensity_of, strength
from mien.labels.circumplex import CIRCUMPLEX
from mien.labels.evidence import evidence_table
from mien.labels.expressions import EXPRESSIONS, canonical
from mien.types.scores import Scores
from mien.types.units import ActionUnits

TABLE = evidence_table()
PROTOTYPES = {
    "happy": (6, 12, 25),
    "surprise": (1, 2, 5, 26),
    "sad": (1, 4, 15),
    "angry": (4, 5, 7, 23, 24),
    "disgust": (9, 16, 17),
    "fear": (1, 2, 4, 5, 20, 25),
    "neutral": (),
}


def face(seen=(), value=5.0, units=TABLE.units, scale="intensity", **sides):
    values = np.array([[value if unit in seen else 0.0 for unit in units]], np.float32)
    return ActionUnits(units, values, scale, "test", **sides)


def sure(name, probability=0.93):
    rest = (1 - probability) / 7
    return Scores(
        EXPRESSIONS, np.array([[probability if n == name else rest for n in EXPRESSIONS]], np.float32)
    )


def of(evidence, name):
    return float(evidence.scores[0, EXPRESSIONS.index(name)])


@pytest.mark.parametrize(("name", "seen"), PROTOTYPES.items())
def test_a_prototype_is_told(name, seen):
    evidence = evidence_for(face(seen))
    assert evidence.best(0) == name
    assert disagreement(evidence, sure(name))[0] == 0


def test_the_score_is_the_share_of_the_look():
    evidence = evidence_for(face((12,)))
    total = TABLE.speaks_for[EXPRESSIONS.index("happy")].sum()
    assert of(evidence, "happy") == pytest.approx(1 / total)
    assert evidence.of(0, "happy") == {12: pytest.approx(1 / total)}
    assert evidence.of(0, "sad") == {12: -0.5}
    assert of(evidence, "sad") == 0


def test_no_unit_over_a_trace_is_neutral():
    evidence = evidence_for(face(TABLE.units, value=1.0))
    assert of(evidence, "neutral") == 1
    assert evidence.best(0) == "neutral"
    assert evidence.contributions.any() == np.False_


def test_a_smile_on_one_side_speaks_for_contempt():
    units = face((12,))
    without = np.zeros_like(units.values)
    one = ActionUnits(units.units, units.values, "intensity", "test", left=units.values, right=without)
    both = ActionUnits(units.units, units.values, "intensity", "test", left=units.values, right=units.values)
    assert of(evidence_for(one), "contempt") == 0.5
    assert of(evidence_for(both), "contempt") == 0


def test_contempt_is_a_thing_of_one_side():
    """EMFACS: R12A+R14A. Dimples on both sides are no contempt, and without sides it cannot be told."""
    dimples = face((14,)).values
    one = evidence_for(face((14,), left=dimples, right=np.zeros_like(dimples)))
    assert one.best(0) == "contempt" and of(one, "contempt") == 0.5
    assert disagreement(one, sure("contempt"))[0] == 0
    assert of(evidence_for(face((14,), left=dimples, right=dimples)), "contempt") == 0
    assert np.isnan(of(evidence_for(face((14,))), "contempt"))


def test_pressed_lips_of_the_mesh_do_not_speak_for_contempt():
    values = face((14, 24), value=3.0).values
    mesh = ActionUnits(TABLE.units, values, "intensity", "mesh", left=values, right=values)
    evidence = evidence_for(mesh)
    assert of(evidence, "contempt") == 0 and 14 not in evidence.of(0, "contempt")
    assert evidence.of(0, "neutral")[24] == -1 and 14 not in evidence.of(0, "neutral")
    assert intensity_of("contempt", mesh, 0) == 0


def test_what_was_not_measured_is_left_out_and_never_zero():
    nothing = ActionUnits(
        TABLE.units, np.full((1, len(TABLE.units)), np.nan, np.float32), "intensity", "test"
    )
    evidence = evidence_for(nothing)
    assert np.isnan(evidence.scores).all() and not evidence.coverage.any()
    assert evidence.best(0) is None
    assert np.isnan(disagreement(evidence, sure("happy"))[0])
    mouth = evidence_for(face((12, 25), units=(12, 25, 26)))
    assert of(mouth, "happy") == 1
    assert np.isnan(of(mouth, "angry"))
    assert np.isnan(disagreement(mouth, sure("angry"))[0])


def test_a_smile_contradicts_sadness():
    evidence = evidence_for(face((6, 12, 25)))
    assert disagreement(evidence, sure("sad"))[0] > DISAGREES
    assert disagreement(evidence, sure("happy"))[0] == 0


def test_classes_of_your_own_are_not_judged():
    own = Scores(("bored", "happy"), np.array([[0.9, 0.1]], np.float32))
    evidence = evidence_for(face((12,)))
    assert np.isnan(disagreement(evidence, own)[0])
    assert np.isnan(disagreement(evidence, Scores(("a", "b"), own.values))[0])
    with pytest.raises(LabelError, match="got bored"):
        derived_affect(own)
    with pytest.raises(ShapeError, match="expected scores of 1 faces"):
        disagreement(evidence, Scores(EXPRESSIONS, np.repeat(sure("sad").values, 2, 0)))


drawn_units = st.dictionaries(st.sampled_from(TABLE.units), st.floats(0, 5) | st.none(), max_size=8)
"""Some units that move, or could not be measured (None); the others are at rest."""
drawn_scores = st.lists(st.floats(0.001, 1), min_size=8, max_size=8)


def drawn_face(moved):
    values = [[moved.get(unit, 0.0) for unit in TABLE.units]]
    rows = np.array(values, float).astype(np.float32)
    return ActionUnits(TABLE.units, rows, "intensity", "test", left=rows, right=rows)


def probabilities(weights):
    return Scores(EXPRESSIONS, np.array([weights], np.float32) / np.float32(sum(weights)))


@settings(deadline=None)
@given(drawn_units, drawn_scores)
def test_evidence_and_disagreement_stay_in_bounds(moved, weights):
    evidence, scores = evidence_for(drawn_face(moved)), probabilities(weights)
    known = evidence.scores[~np.isnan(evidence.scores)]
    assert ((known >= 0) & (known <= 1)).all()
    assert ((evidence.coverage >= 0) & (evidence.coverage <= 1 + 1e-12)).all()
    assert np.isfinite(evidence.contributions).all()
    (apart,) = disagreement(evidence, scores)
    assert np.isnan(apart) == np.isnan(of(evidence, scores.top[0]))
    assert np.isnan(apart) or 0 <= apart <= 1


@settings(deadline=None)
@given(drawn_units, st.sampled_from(TABLE.units), st.floats(0, 5), st.floats(0, 5))
def test_a_unit_that_grows_moves_each_score_its_own_way(moved, unit, first, second):
    low, high = sorted((first, second))
    before, after = (evidence_for(drawn_face({**moved, unit: value})).scores[0] for value in (low, high))
    told = ~np.isnan(before)
    assert (told == ~np.isnan(after)).all()
    helps = TABLE.speaks_for[:, TABLE.units.index(unit)] > 0
    assert (after[told & helps] >= before[told & helps] - 1e-9).all()
    assert (after[told & ~helps] <= before[told & ~helps] + 1e-9).all()


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1))
def test_strength_grows_with_intensity_and_probability(first, second):
    low, high = sorted((first, second))
    for scale, top in (("intensity", 5), ("probability", 1)):
        weak, strong = strength(np.array([low * top, high * top]), scale)
        assert 0 <= weak <= strong <= 1
    assert strength(np.array([1.0, 2.0, 3.0]), "intensity").tolist() == [0, 0.5, 1]


@settings(deadline=None)
@given(drawn_scores)
def test_affect_lies_between_its_classes_and_is_called_derived(weights):
    affect = derived_affect(probabilities(weights))
    corners = np.array(list(CIRCUMPLEX.values()))
    assert affect.kind == "derived"
    assert corners[:, 0].min() <= affect.valence[0] <= corners[:, 0].max()
    assert corners[:, 1].min() <= affect.arousal[0] <= corners[:, 1].max()


def test_a_sure_answer_has_the_place_of_its_class():
    affect = derived_affect(sure("happy", 1.0))
    assert (affect.valence[0], affect.arousal[0]) == pytest.approx(CIRCUMPLEX["happy"])


@pytest.mark.data
def test_the_table_tells_most_expressions_of_facs_coded_sequences(data_folder):
    """CK+ with its FACS codes, one peak frame a sequence; the table was not fitted to it."""
    path = data_folder / "ckplus48_au" / "ckplus48_au.npz"
    if not path.is_file():
        pytest.skip("CK+48 with action units is not in the data folder (MIEN_DATA)")
    with np.load(path) as data:
        _, rows = np.unique(data["sequence"], return_index=True)
        codes = data["au"][rows].astype(np.float32)
        units = ActionUnits(tuple(map(int, data["au_ids"])), codes, "probability", "FACS coders")
        truth = [canonical(label) for label in data["label"][rows]]
    evidence = evidence_for(units)
    right = [evidence.best(row) == name for row, name in enumerate(truth)]
    assert len(right) == 327
    assert sum(right) == 281
    assert not any(
        of_row for of_row, name in zip(right, truth, strict=True) if name == "contempt"
    )  # no sides
