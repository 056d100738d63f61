from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.labels.action_units import ACTION_UNITS
from mien.labels.claims import INTENSITIES, Claim, claims_in, label_in, names_label, stated_units


def yes(unit, intensity=None, side=None):
    return Claim(unit, True, intensity, side)


def no(*units):
    return [Claim(unit, False) for unit in units]


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("AU12 is marked and AU6 is slight.", [yes(12, "C"), yes(6, "B")]),
        ("A strong AU12 and a faint AU 06.", [yes(12, "D"), yes(6, "A")]),
        ("Both AU6 and AU12 are strong.", [yes(6, "D"), yes(12, "D")]),
        ("I see AU 6 and au_12 (both marked).", [yes(6, "C"), yes(12, "C")]),
        ("AU12 with marked intensity and AU6 with an intensity of B.", [yes(12, "C"), yes(6, "B")]),
        ("AU12 with a strong AU6", [yes(12), yes(6, "D")]),
        ("Lips parted (AU25, slight, stronger on the left)", [yes(25, "B", "left")]),
        ("AU12C+AU6B", [yes(12, "C"), yes(6, "B")]),
        ("AU12: marked, AU6: slight, AU4: absent, AU5: no", [yes(12, "C"), yes(6, "B"), *no(4, 5)]),
        ("AU L14 shows; AU12 (intensity 3.2), AU25 4/5", [yes(14, None, "left"), yes(12, "C"), yes(25, "D")]),
        ("The lip corner puller (AU12) is strong on the left side.", [yes(12, "D", "left")]),
        ("AU12 at its maximum on both sides", [yes(12, "E", "both")]),
        ("No AU4 or AU15.", no(4, 15)),
        ("AU4, AU5 and AU7 are absent.", no(4, 5, 7)),
        ("AU4 is absent and AU5 is there.", [*no(4), yes(5)]),
        ("AU12 is strong, not AU15", [yes(12, "D"), *no(15)]),
        ("AU12 is present and AU4 is not.", [yes(12), *no(4)]),
        ("Neither AU4 nor AU15 is seen, AU12 is.", [*no(4, 15), yes(12)]),
        ("Not only AU12 but also AU6 is seen.", [yes(12), yes(6)]),
        ("There is no sign of activity in AU4.", no(4)),
        ("No contradiction: AU12 is present.", [yes(12)]),
        ("The cheeks are raised and the brows are not lowered.", [yes(6), *no(4)]),
        ("Inner brow raise and jaw drop, without brow lowering", [yes(1), yes(26), *no(4)]),
        ("Raised cheeks, pulled lip corners, parted lips", [yes(6), yes(12), yes(25)]),
        ("The dimpler isn't active.", no(14)),
        ("AU99 is there", [yes(99)]),
        ("AU1+2 are seen.", [yes(1), yes(2)]),
        ("AU25/26 open the mouth", [yes(25), yes(26)]),
        ("AU1/2/5", [yes(1), yes(2), yes(5)]),
        ("AU 1, 2, 5", [yes(1), yes(2), yes(5)]),
        ("AUs 1, 2 and 5 are marked.", [yes(1, "C"), yes(2, "C"), yes(5, "C")]),
        ("Action units: 6B, 12C, and 25.", [yes(6, "B"), yes(12, "C"), yes(25)]),
        ("Action Unit 12 is there, AU4 or 15 is not.", [yes(12), *no(4, 15)]),
        ("No AU4, 5 or 7.", no(4, 5, 7)),
        ("AU12, 3 of 5; AU6, 4 of 5", [yes(12), yes(6)]),
        ("AU12, 4/5, and AU6, 2 out of 5", [yes(12), yes(6)]),
        ("AU12, 12 % likely, AU6 and 2 others", [yes(12), yes(6)]),
        ("AU12, 2.5 and 4", [yes(12)]),
        ("AU12, 8, 6", [yes(12)]),
        ("AU12 is stronger on the right side than on the left.", [yes(12, None, "right")]),
        ("AU12 is on the right, not on the left.", [yes(12, None, "right")]),
        ("AU12 is symmetric, not stronger on the left.", [yes(12, None, "both")]),
        ("Without doubt AU4 is there.", [yes(4)]),
        ("There is no doubt that AU4 is present.", [yes(4)]),
        ("AU4 is no longer absent in the face.", [yes(4)]),
        ("AU4 can't be overlooked in the face.", [yes(4)]),
        ("The extreme AU4 is not to be missed in the face.", [yes(4, "D")]),
        ("The AU4 is not small in the face.", [yes(4)]),
        ("The face is not neutral, as AU4 is present.", [yes(4)]),
        ("AU12 does not speak for the label sadness.", [yes(12)]),
        ("AU12 and AU6 do not fit the label of sadness.", [yes(12), yes(6)]),
        ("AU12 is marked, which is not typical of the label sadness.", [yes(12, "C")]),
        ("Without AU15, the marked AU12 speaks against the label.", [*no(15), yes(12, "C")]),
        ("AU12 is not weak on this face.", [yes(12)]),
        ("There is no sign that AU4 is active.", no(4)),
        ("AU4 is neither seen nor felt, AU5 shows no activity.", no(4, 5)),
        ("AU4 is not clearly visible, AU5 isn't in the face.", no(4, 5)),
        ("The cheek raiser is at FACS letter E in the face.", [yes(6, "E")]),
        ("The AU6 (E) and the AU12 (C) go together.", [yes(6, "E"), yes(12, "C")]),
        ("AU6 is at level E and AU12 is at level C.", [yes(6, "E"), yes(12, "C")]),
        ("AU12: E, AU6: B", [yes(12, "E"), yes(6, "B")]),
        ("AU6 is clearly extreme", [yes(6, "D")]),
        ("A happy face with a broad smile.", []),
        ("The audience of August 12", []),
        ("", []),
    ],
)
def test_claims_are_read(text, claims):
    assert claims_in(text) == claims


@pytest.mark.parametrize("unit", ACTION_UNITS)
def test_every_unit_is_found_by_number_and_by_name(unit):
    assert claims_in(f"AU{unit} is there") == [yes(unit)]
    assert claims_in(f"I see the {ACTION_UNITS[unit]} here") == [yes(unit)]
    assert claims_in(f"AU{unit} ({ACTION_UNITS[unit]}) is absent") == no(unit)


@settings(deadline=None)
@given(
    unit=st.sampled_from(sorted(ACTION_UNITS)),
    intensity=st.sampled_from([None, *INTENSITIES]),
    side=st.sampled_from([None, "left", "right", "both"]),
)
def test_what_is_written_is_read_back(unit, intensity, side):
    amount = f" at intensity {intensity}" if intensity else ""
    place = {"both": " on both sides"}.get(side, f" on the {side}") if side else ""
    assert claims_in(f"It shows AU{unit}{amount}{place}.") == [yes(unit, intensity, side)]


@settings(deadline=None)
@given(st.text(max_size=300))
def test_any_text_can_be_read(text):
    claims_in(text)
    label_in(text)


CHAINS = [
    (
        "Key observations: AU6 and AU12 are marked. Overall: raised cheeks with pulled lip corners make a smile. "
        "Conclusion: happiness.",
        "happy",
    ),
    (
        "The brows are lowered and the lids tight. There is no joy in it. Therefore, the face looks angry.",
        "angry",
    ),
    ("<think>It could be fear or surprise; AU4 is missing.</think><answer>Surprise</answer>", "surprise"),
    ("AU1, AU4 and AU15 together point to sorrow. In conclusion, the emotion is sadness, not anger.", "sad"),
    ("AU9 is strong.\nThis is not a happy face.\nThe answer is disgust.", "disgust"),
    ("No unit is active. The person looks neutral.", "neutral"),
    ("AU1+2+4+5+20: the person is scared.", "fear"),
    ("One lip corner is tightened, a look of disdain, rather than happiness", "contempt"),
    ("The conclusion is hard to draw from AU25 alone.", None),
    ("In conclusion it is anger or disgust.", None),
    ("The expression is happy and surprised.", None),
    ("The expression is fear, surprise.", None),
    ("Therefore it is anger/disgust.", None),
    ("The expression is happy and not surprised.", "happy"),
    ("The expression is happy, joyful.", "happy"),
    ("The expression is sad, and the brows show it more than fear would.", "sad"),
]


@pytest.mark.parametrize(("text", "label"), CHAINS)
def test_the_label_of_ten_chains_of_thought(text, label):
    assert label_in(text) == label


def test_a_sentence_may_name_more_than_one_label():
    assert names_label("It lies between fear and surprise.") and names_label("It is sad.")
    assert not names_label("It is not sad.") and not names_label("She misses her dog.")


def test_only_labels_that_may_be_concluded_count():
    assert label_in("Contempt, perhaps sadness.", ("happy", "sad")) == "sad"
    assert label_in("Conclusion: neither happy nor sad.") is None


@pytest.mark.parametrize(
    "text", ["no AU1 is " * 2000, "happy no " * 2000, "AU1, " * 4000, "lip corners " * 2000]
)
def test_a_model_that_stutters_is_read_in_good_time(text):
    start = time.process_time()
    claims_in(text)
    label_in(text)
    assert time.process_time() - start < 10


def test_units_that_are_stated_are_those_said_to_be_there():
    assert stated_units("AU1, AU 12 (lip corner puller) and AU25, no AU4.") == {1, 12, 25}
    assert stated_units("SAU7 and a smile") == set()
