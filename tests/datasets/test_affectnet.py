from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien.datasets import affectnet
from mien.datasets.dataset import DATASETS
from mien.errors import DataError, DataNotFoundError, OptionError
from mien.labels.expressions import EXPRESSIONS

DATA = DATASETS["affectnet"]
HEADER = ",".join(affectnet.COLUMNS)


def write_v1(root: Path, train: str = "", val: str = "") -> None:
    (root / "training.csv").write_text(f"{HEADER}\n{train}")
    (root / "validation.csv").write_text(val)


def line(name: str, code: object, valence: object = 0.5, arousal: object = -0.25) -> str:
    return f"{name},10,20,30,40,1.0;2.0,{code},{valence},{arousal}\n"


def test_v1_numbers_are_classes_by_name(tmp_path: Path) -> None:
    write_v1(tmp_path, "".join(line(f"1/{code}.jpg", code) for code in range(11)), line("2/a.jpg", 3))
    rows = DATA.rows(tmp_path)
    wanted = ["neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt"]
    assert [row.label for row in rows[:11]] == [*wanted, None, None, None]
    assert [row.extras["file_label"] for row in rows[:11]] == list(range(11))
    assert (rows[0].id, rows[0].split) == ("1/0.jpg", "train")
    assert (rows[11].id, rows[11].split, rows[11].label) == ("2/a.jpg", "val", "surprise")
    assert rows[0].extras["face_box_xyxy_px"] == (10, 20, 40, 60)
    assert rows[0].extras["valence_arousal"] == (0.5, -0.25)


def test_minus_two_is_not_available(tmp_path: Path) -> None:
    write_v1(tmp_path, line("1/a.jpg", 1, -2, -2) + line("1/b.jpg", 1, -1, 1) + line("1/c.jpg", 1, 0.5, -2))
    values = [row.extras["valence_arousal"] for row in DATA.rows(tmp_path)]
    assert np.isnan(values[0]).all()
    assert values[1] == (-1, 1)
    assert values[2][0] == 0.5
    assert np.isnan(values[2][1])


def test_the_lists_may_lie_in_their_folder_and_have_headers(tmp_path: Path) -> None:
    folder = tmp_path / "Manually_Annotated_file_lists"
    folder.mkdir()
    write_v1(folder, line("1/a.jpg", 0), f"{HEADER}\n{line('1/b.jpg', 1)}")
    assert [(row.id, row.split) for row in DATA.rows(tmp_path)] == [("1/a.jpg", "train"), ("1/b.jpg", "val")]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_look_alike_reads(version: str, tmp_path: Path) -> None:
    DATA.look_alike(tmp_path, version=version)
    rows = DATA.rows(tmp_path)
    assert len(rows) == (3 + 2) * 8 + 2
    assert sum(row.label is None for row in rows) == 2
    samples = DATA.samples(tmp_path, "affectnet_8", "val", check=False)
    assert samples.counts == dict.fromkeys(EXPRESSIONS, 2)
    assert samples.extras["valence_arousal"].shape == (16, 2)
    missing = np.isnan(samples.extras["valence_arousal"])
    assert missing[4].all()
    assert not missing[0].any()
    assert np.nanmax(np.abs(samples.extras["valence_arousal"])) <= 1
    face = samples.read(0)
    assert face.shape == ((96, 96, 3) if version == "v1" else (224, 224, 3))
    assert samples.framing == "crop"


def test_seven_classes_drop_contempt_only(tmp_path: Path) -> None:
    DATA.look_alike(tmp_path)
    eight, seven = (DATA.samples(tmp_path, f"affectnet_{k}", "train", check=False) for k in (8, 7))
    assert set(eight.labels) - set(seven.labels) == {"contempt"}
    named = {id: eight.labels[index] for id, index in zip(eight.ids, eight.target, strict=True)}
    assert {id: seven.labels[index] for id, index in zip(seven.ids, seven.target, strict=True)} == {
        id: label for id, label in named.items() if label != "contempt"
    }


def test_v2_goes_by_number_and_takes_text_and_numbers(tmp_path: Path) -> None:
    DATA.look_alike(tmp_path)
    folder = tmp_path / "val_set" / "annotations"
    for value in ("7", 7, 7.0, [7]):
        np.save(folder / "3_exp.npy", np.array(value))
        rows = {row.id: row for row in DATA.rows(tmp_path)}
        assert rows["val_set/3"].label == "contempt"
        assert rows["val_set/3"].extras["file_label"] == 7
    assert [id for id in rows if id.startswith("val_set")] == [f"val_set/{number}" for number in range(17)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (line("1/a.jpg", 11), r"training\.csv, line 2: expected one of the codes 0 \(neutral\).*got '11'"),
        (line("1/a.jpg", "happy"), "line 2: expected one of the codes"),
        ("1/a.jpg,1,2\n", "line 2: expected 9 columns"),
        (line("1/a.jpg", 1, "none"), "line 2: expected numbers for the face box, valence and arousal"),
    ],
)
def test_a_bad_line_of_v1_is_named(text: str, said: str, tmp_path: Path) -> None:
    write_v1(tmp_path, text)
    with pytest.raises(DataError, match=said):
        DATA.rows(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("3_exp", "12", r"3_exp\.npy: expected one of the codes"),
        ("3_exp", "1.5", r"3_exp\.npy: expected one of the codes"),
        ("3_exp", "happy", r"expected a number in .*3_exp\.npy"),
        ("3_val", [], r"expected a number in .*3_val\.npy"),
        ("x_exp", "1", r"expected a name such as '123_exp\.npy'"),
    ],
)
def test_a_bad_file_of_v2_is_named(name: str, value: object, said: str, tmp_path: Path) -> None:
    DATA.look_alike(tmp_path)
    np.save(tmp_path / "train_set" / "annotations" / f"{name}.npy", np.array(value))
    with pytest.raises(DataError, match=said):
        DATA.rows(tmp_path)


def test_a_missing_file_of_v2_is_named(tmp_path: Path) -> None:
    DATA.look_alike(tmp_path)
    (tmp_path / "val_set" / "annotations" / "0_aro.npy").unlink()
    with pytest.raises(DataError, match=r"expected a number in .*0_aro\.npy"):
        DATA.rows(tmp_path)


def test_missing_data_says_what_is_expected_and_where_to_apply(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError) as caught:
        DATA.rows(tmp_path)
    for part in ("train_set/annotations/0_exp.npy", "training.csv", "mohammadmahoor.com", "signed"):
        assert part in str(caught.value)


def test_an_unknown_version_of_the_look_alike_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="expected version 'v1' or 'v2', got 'v3'"):
        DATA.look_alike(tmp_path, version="v3")


def test_published_sums() -> None:
    assert sum(affectnet.TRAIN.values()) == 287651
    assert sum(affectnet.VAL.values()) == 4000
