from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.errors import LabelError, OptionError, UnknownNameError
from mien.explain import phrasebook as phrasebooks
from mien.explain.language_model import objection
from mien.explain.phrasebook import FOLDER, Phrasebook, differences, phrasebook
from mien.explain.words import explain_face
from mien.labels.action_units import ACTION_UNITS, UNIT_SETS
from mien.labels.claims import INTENSITIES, claims_in, label_in
from mien.labels.expressions import EXPRESSIONS
from mien.types.scores import Scores
from mien.types.units import ActionUnits

ALL = tuple(ACTION_UNITS)


def scores(**given):
    rest = (1 - sum(given.values())) / (8 - len(given))
    return Scores(EXPRESSIONS, np.array([[given.get(name, rest) for name in EXPRESSIONS]], np.float32))


def face(seen, units=ALL, scale="intensity", left=None, right=None):
    def table(values):
        return None if values is None else np.array([[values.get(unit, 0) for unit in units]], np.float32)

    return ActionUnits(units, table(seen), scale, "test", table(left), table(right))


SMILE = {6: 2.2, 12: 3.4, 25: 2.0}


def test_a_smile_is_put_into_words():
    text = explain_face(scores(happy=0.87, surprise=0.06), face(SMILE, UNIT_SETS["disfa"])).text
    assert text == (
        "Key observations: The lip corners are pulled up (AU12, marked), which speaks for happiness. "
        "The cheeks are raised (AU6, slight), which speaks for happiness and sadness. "
        "The lips are parted (AU25, slight), which many expressions share.\n"
        "Interpretation: AU12, AU6 and AU25 together make up 73 % of the look of happiness. Units and network agree.\n"
        "Conclusion: The network reads the face as happy, with a probability of 87 %; next comes surprise, with 6 %. "
        "Derived from the probabilities, not measured: valence +0.70, arousal +0.53."
    )


def test_disagreement_is_said_plainly():
    explanation = explain_face(scores(sad=0.8), face(SMILE))
    assert "disagrees" in explanation.flags
    assert "AU12 speaks against sadness." in explanation.interpretation
    assert (
        "Units and network disagree (0.73 on a scale from 0 to 1): by the units alone, the face looks happy, not sad."
        in (explanation.interpretation)
    )
    assert "check this face by eye" in explanation.conclusion
    assert label_in("Conclusion: " + explanation.conclusion) == "sad"


def test_nothing_measured_gives_no_reason():
    nothing = ActionUnits(ALL, np.full((1, len(ALL)), np.nan, np.float32), "intensity", "test")
    for units, said in (
        (None, "No action units were given."),
        (nothing, "No action unit could be measured on"),
    ):
        explanation = explain_face(scores(angry=0.6), units)
        assert explanation.flags == ("not_measured",)
        assert explanation.observations == ()
        assert explanation.observed.startswith(said)
        assert np.isnan(explanation.disagreement)
        assert claims_in(explanation.text) == []


def test_too_little_measured_gives_no_verdict():
    explanation = explain_face(scores(angry=0.6), face({4: 3}, UNIT_SETS["disfa"]))
    assert explanation.flags == ("partly_measured",)
    assert "Too few units could be measured to judge anger and contempt." in explanation.interpretation
    assert "neither confirm nor contradict" in explanation.interpretation


def test_a_part_of_a_look_is_called_a_part():
    explanation = explain_face(scores(contempt=0.9), face({14: 3}, (14,), left={14: 3}, right={}))
    assert explanation.interpretation == (
        "AU14 makes up 100 % of the look of contempt, as far as it could be measured. Units and network agree."
    )


def test_pressed_lips_of_the_mesh_are_said_once():
    units = (4, 12, 14, 24)
    values = np.array([[0, 0, 3.2, 3.2]], np.float32)
    mesh = ActionUnits(units, values, "intensity", "mesh", values, values)
    explanation = explain_face(scores(angry=0.6), mesh)
    assert explanation.observed == (
        "The lips are pressed together (AU24, marked, on both sides), which speaks for anger. "
        "It may also be dimples: the mesh cannot tell the two apart."
    )
    assert "AU14" in explanation.facts()["units_not_measured"]
    assert not explanation.evidence["contempt"] > 0
    assert objection(claims_in("AU14 is there.")[0], explanation) == "not measured"
    coded = explain_face(scores(angry=0.6), ActionUnits(units, values, "intensity", "FACS", values, values))
    assert "AU14" in coded.observed and "mesh" not in coded.observed
    at_rest = ActionUnits(units, np.full((1, 4), 0.4, np.float32), "intensity", "mesh")
    assert {one.unit for one in explain_face(scores(angry=0.6), at_rest).others} == {4, 12, 14, 24}


def test_a_unit_that_is_none_is_refused():
    with pytest.raises(LabelError, match="expected an action unit"):
        explain_face(scores(happy=0.9), face({3: 2}, units=(3, 12)))


def test_nothing_seen_is_a_neutral_look():
    explanation = explain_face(scores(neutral=0.9), face({12: 1.2}))
    assert "nothing_seen" in explanation.flags
    assert "No action unit is seen above a trace." in explanation.text
    assert "agree" in explanation.interpretation


def test_doubt_regions_and_sides_are_named():
    explanation = explain_face(
        scores(contempt=0.6),
        face({12: 2.5, 14: 3}, left={12: 2.5, 14: 3}, right={}),
        uncertain=True,
        reasons="too small (12 px, limit 24 px)",
        regions={"the eyes": 0.2, "the mouth": 0.62, "the brows": 0.1},
    )
    assert explanation.flags == ("uncertain", "unreliable")
    assert "(AU14, marked, stronger on the left)" in explanation.observed
    assert "mostly at the mouth (62 %) and the eyes (20 %)" in explanation.interpretation
    assert "too small (12 px, limit 24 px)" in explanation.conclusion
    assert "under the level at which it is sure" in explanation.conclusion


EVEN = {"mouth": 0.05, "left cheek": 0.11, "right cheek": 0.12}


@pytest.mark.parametrize(
    ("regions", "areas", "said"),
    [
        ({"mouth": 0.45, "left cheek": 0.17}, EVEN, "looked mostly at mouth (45 %) and left cheek (17 %)."),
        ({"mouth": 0.51, "left cheek": 0.1}, EVEN, "looked mostly at mouth (51 %)."),
        (
            {"mouth": 0.09, "left cheek": 0.04},
            EVEN,
            "map stands out at mouth (9 %), but most of it lies elsewhere.",
        ),
        (
            {"nose": 0.09, "mouth": 0.04},
            None,
            "map stands out at nose (9 %) and mouth (4 %), but most of it lies elsewhere.",
        ),
        (EVEN, EVEN, "No part of the face stands out in the network's map."),
        (
            {"left cheek": 0.1},
            {"left cheek": 0.3, "right cheek": 0.3},
            "Most of the network's map (90 %) lies outside the parts of the face.",
        ),
    ],
)
def test_mostly_is_said_of_most_of_the_map_alone(regions, areas, said):
    text = explain_face(scores(happy=0.9), regions=regions, areas=areas).interpretation
    assert text.endswith(said)
    assert ("mostly" in text) == ("mostly" in said)
    assert "network" not in explain_face(scores(happy=0.9), areas=EVEN).interpretation.split(".", 1)[1]


def test_probabilities_are_said_as_such():
    explanation = explain_face(scores(happy=0.9), face({12: 0.97, 6: 0.4}, scale="probability"))
    assert [one.unit for one in explanation.observations] == [12]
    assert "(AU12, 97 % likely)" in explanation.text
    assert explanation.observations[0].letter is None


def test_classes_of_your_own_keep_their_names():
    own = Scores(("bored", "keen"), np.array([[0.7, 0.3]], np.float32))
    explanation = explain_face(own, face(SMILE))
    assert explanation.conclusion == (
        "The network reads the face as bored, with a probability of 70 %; next comes keen, with 30 %."
    )
    assert explanation.affect == {}
    alone = explain_face(Scores(("bored",), np.ones((1, 1), np.float32)))
    assert alone.conclusion == "The network reads the face as bored, with a probability of 100 %."


def test_a_row_is_one_face_of_many():
    both = Scores(EXPRESSIONS, np.concatenate([scores(sad=0.9).values, scores(happy=0.9).values]))
    units = ActionUnits(
        ALL, np.concatenate([face({1: 3, 4: 3, 15: 3}).values, face(SMILE).values]), "intensity", "test"
    )
    assert explain_face(both, units, row=1).text == explain_face(scores(happy=0.9), face(SMILE)).text
    with pytest.raises(OptionError, match="expected a row of 2 faces"):
        explain_face(both, units, row=2)
    with pytest.raises(OptionError, match="units of 1 faces"):
        explain_face(both, face(SMILE))
    with pytest.raises(OptionError, match="shares of regions from 0 to 1"):
        explain_face(both, regions={"mouth": 62})


moving = st.dictionaries(
    st.sampled_from(ALL), st.tuples(st.floats(0, 5), st.floats(0, 5)) | st.none(), max_size=8
)


@settings(deadline=None, max_examples=60)
@given(
    moving,
    st.sampled_from(["intensity", "probability"]),
    st.lists(st.floats(0.001, 1), min_size=8, max_size=8),
)
def test_no_sentence_claims_what_was_not_measured(moved, scale, weights):
    nothing = (float("nan"), float("nan"))
    sides = np.array([[moved.get(unit, (0.0, 0.0)) or nothing for unit in ALL]], np.float32)
    sides /= 1 if scale == "intensity" else 5
    units = ActionUnits(ALL, sides.max(2), scale, "test", sides[..., 0], sides[..., 1])
    probabilities = np.array([weights], np.float32) / np.float32(sum(weights))
    explanation = explain_face(Scores(EXPRESSIONS, probabilities), units)
    claims = claims_in(explanation.text)
    assert {claim.unit for claim in claims} == {one.unit for one in explanation.observations}
    assert [objection(claim, explanation) for claim in claims] == [""] * len(claims)
    read = json.loads(explanation.to_json())
    assert read["label"] == explanation.label
    assert "{" not in explanation.text and "nan" not in explanation.text


@pytest.mark.parametrize("unit", ACTION_UNITS)
@pytest.mark.parametrize("level", range(2, 6))
def test_every_unit_and_intensity_reads_back_from_its_sentence(unit, level):
    explanation = explain_face(
        scores(happy=0.9), face({unit: level}, left={unit: level}, right={unit: level})
    )
    (claim,) = set(claims_in(explanation.observed))
    assert (claim.unit, claim.present, claim.intensity, claim.side) == (
        unit,
        True,
        INTENSITIES[level - 1],
        "both",
    )


def test_small_and_large_shares_are_never_rounded_away():
    phrases = phrasebook()
    said = [phrases.percent(share) for share in (0, 0.004, 0.5, 0.996, 1)]
    assert said == ["0 %", "under 1 %", "50 %", "over 99 %", "100 %"]
    assert [phrases.listed(items) for items in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_every_language_has_all_phrases(path):
    english = json.loads((FOLDER / "en.json").read_text("utf-8"))
    phrases = json.loads(path.read_text("utf-8"))
    assert differences(english, phrases) == []
    assert set(phrases["units"]) == {str(unit) for unit in ACTION_UNITS}
    assert set(phrases["expressions"]) == set(EXPRESSIONS)
    assert set(phrases["intensity"]) == set(INTENSITIES)


def test_a_language_that_does_not_fit_is_refused(tmp_path, monkeypatch):
    english = json.loads((FOLDER / "en.json").read_text("utf-8"))
    other = json.loads((FOLDER / "en.json").read_text("utf-8"))
    del other["units"]["12"]
    other["sides"]["up"] = "oben"
    other["percent"]["value"] = "{prozent} %"
    other["list"] = []
    (tmp_path / "en.json").write_text(json.dumps(english))
    (tmp_path / "de.json").write_text(json.dumps(other))
    monkeypatch.setattr(phrasebooks, "FOLDER", tmp_path)
    with pytest.raises(LabelError) as caught:
        phrasebook.__wrapped__("de")
    for part in (
        "units.12 is missing",
        "sides.up is not known",
        "percent.value needs",
        "list is of another kind",
    ):
        assert part in str(caught.value)
    with pytest.raises(UnknownNameError, match="no language of explanations 'fr'"):
        phrasebook.__wrapped__("fr")


def test_phrases_are_filled_in_by_name():
    assert Phrasebook({"a": {"b": "{x} and {y}"}}).say("a", "b", y=2, x=1) == "1 and 2"
