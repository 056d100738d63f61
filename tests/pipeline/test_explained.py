"""Explanations of whole pictures: words, maps at their places, drawings, and the verb."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mien.cli.main import main
from mien.errors import OptionError, UnknownNameError
from mien.pipeline import explained as explained_module
from mien.pipeline.analyzer import Analyzer
from mien.pipeline.explained import Explainer
from mien.pipeline.explained_picture import draw_explained


@pytest.mark.parametrize("name", ["occlusion", "grad_cam"])
def test_the_map_lies_on_the_face_and_its_shares_are_told(
    name: str, meshed: Analyzer, astronaut: np.ndarray
) -> None:
    pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")
    faces, (face,) = Explainer(meshed, name).explain(astronaut)
    left, top, right, bottom = face.region_xyxy_px
    assert face.heat is not None and face.heat.shape == (bottom - top, right - left)
    assert np.nanmin(face.heat) >= 0 and 0.5 < np.nanmax(face.heat) <= 1
    box = faces.box_xyxy_px[0]
    assert left <= box[0] and top <= box[1] and right >= box[2] and bottom >= box[3]
    regions = face.explanation.regions
    assert regions and 0 < sum(regions.values()) <= 1 + 1e-6
    assert "AU12" in face.explanation.text and face.notes == ()


def test_the_network_whose_layers_a_map_asks_answers_as_the_classifier(analyzer: Analyzer) -> None:
    torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")
    crops = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    with torch.no_grad():
        pixels = (torch.from_numpy(crops).permute(0, 3, 1, 2).float() - 127.5) / 128
        found = Explainer(analyzer, "grad_cam")._network.network(pixels).numpy()
    np.testing.assert_allclose(found, analyzer.runner.logits(crops), rtol=1e-3, atol=1e-3)


def test_an_even_map_is_not_read_as_looking_at_a_part(
    meshed: Analyzer, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Explainer, "_maps", lambda self, picture, faces: (np.ones((len(faces), 64, 64)), ""))
    _, (face,) = Explainer(meshed).explain(astronaut)
    assert face.explanation.regions["left cheek"] > face.explanation.regions["nose"] > 0
    assert "No part of the face stands out" in face.explanation.interpretation


def test_without_torch_the_map_is_missing_and_said_to_be(
    meshed: Analyzer, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    _, (face,) = Explainer(meshed).explain(astronaut)
    assert face.heat is None and face.notes == (explained_module.NO_TORCH,)
    assert draw_explained(astronaut, face).size[0] > 0


def test_without_mesh_the_words_say_so(analyzer: Analyzer, astronaut: np.ndarray) -> None:
    _, (face,) = Explainer(analyzer, None).explain(astronaut)
    assert "not_measured" in face.explanation.flags and face.heat is None
    assert "No action units were given." in face.explanation.text


def test_a_map_that_does_not_exist_or_cannot_be_is_refused(analyzer: Analyzer, astronaut: np.ndarray) -> None:
    pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")
    with pytest.raises(UnknownNameError, match="grad_cam"):
        Explainer(analyzer, "gradcam").explain(astronaut)


def test_an_onnx_file_takes_no_map_of_layers(
    analyzer: Analyzer, astronaut: np.ndarray, tmp_path: Path
) -> None:
    pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")
    """The shipped network is known by its bytes, not by its file's name."""
    onnx = pytest.importorskip("onnx", reason="needs onnx: pip install 'mien[train]'")
    same, own = tmp_path / "same.onnx", tmp_path / "expression.onnx"
    same.write_bytes(analyzer.runner.weights.content)
    assert Explainer(Analyzer(same), "grad_cam").explain(astronaut)[1][0].heat is not None
    other = onnx.load_from_string(analyzer.runner.weights.content)
    other.doc_string = "trained further"
    own.write_bytes(other.SerializeToString())
    with pytest.raises(OptionError, match="occlusion"):
        Explainer(Analyzer(own), "grad_cam").explain(astronaut)


def test_no_face_is_no_explanation(analyzer: Analyzer) -> None:
    faces, explained = Explainer(analyzer, None).explain(np.zeros((64, 64, 3), np.uint8))
    assert len(faces) == 0 and explained == []


def test_the_drawing_holds_map_units_and_words(meshed: Analyzer, astronaut: np.ndarray) -> None:
    _, (with_map,) = Explainer(meshed, "occlusion").explain(astronaut)
    _, (without,) = Explainer(meshed, None).explain(astronaut)
    wide, narrow = draw_explained(astronaut, with_map, "a.jpg"), draw_explained(astronaut, without)
    assert wide.width > narrow.width


def test_the_verb_says_json_and_draws(
    meshed: Analyzer, astronaut_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        str(astronaut_path),
        str(tmp_path / "no.jpg"),
        "--map",
        "none",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(["explain", *arguments, "--json", "--quiet"]) == 1
    said = capsys.readouterr()
    face, failed = json.loads(said.out)
    assert face["label"] == "happy" and Path(face["drawn"]).is_file() and face["evidence"]["happy"] > 0
    assert failed["error"].startswith("expected a file") and "no.jpg" in said.err
    assert main(["explain", str(astronaut_path), "--map", "none"]) == 0
    text = capsys.readouterr().out
    assert "Key observations" in text and "Conclusion" in text


def test_pictures_of_one_name_and_drawings_that_cannot_be_written(
    meshed: Analyzer,
    astronaut_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths = [tmp_path / folder / "p.png" for folder in "ab"]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(astronaut_path.read_bytes())
    command = [
        "explain",
        *map(str, paths),
        "--map",
        "none",
        "--out",
        str(tmp_path / "out"),
        "--json",
        "--quiet",
    ]
    assert main(command) == 0
    drawn = [Path(face["drawn"]).name for face in json.loads(capsys.readouterr().out)]
    assert (
        drawn
        == ["p_png_face0.png", "p_png_2_face0.png"]
        == sorted((path.name for path in (tmp_path / "out").iterdir()), reverse=True)
    )

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mien.cli.explain.whole", full)
    assert main(command) == 2
    assert "expected to be able to write the results, got: [Errno 28]" in capsys.readouterr().err


def test_a_claim_that_the_measurement_contradicts_is_struck(
    meshed: Analyzer, astronaut_path: Path, language_server, capsys: pytest.CaptureFixture[str]
) -> None:
    """The face smiles and its brows are at rest; a model that sees lowered brows is not believed."""
    seen = {"unit": "AU12", "present": True, "intensity": None, "side": None, "text": "AU12 is there."}
    invented = {**seen, "unit": "AU4", "text": "AU4 lowers the brows."}
    answer = {"observations": [seen, invented], "interpretation": "AU12 speaks for it.", "label": "happy"}
    language_server.says(json.dumps(answer))
    arguments = ["explain", str(astronaut_path), "--map", "none", "--llm", language_server.model.url]
    assert main([*arguments, "--json"]) == 0
    (face,) = json.loads(capsys.readouterr().out)
    assert "AU12 is there" in face["text"] and "brows" not in face["text"]
    told = face["language_model"]
    assert (told["source"], told["claims"], told["hallucination_rate"]) == ("model", 3, pytest.approx(1 / 3))
    assert [one["unit"] for one in told["struck"]] == [4] and told["struck"][0]["reason"]
    assert main(arguments) == 0
    assert "1 of 3 claims struck: AU" in capsys.readouterr().out
    language_server.http.shutdown()
    language_server.http.server_close()
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "Key observations" in said and "Start the server" in said


def test_the_verb_without_the_file_of_the_mesh_names_the_command(
    astronaut_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MIEN_HOME", str(tmp_path))
    assert main(["explain", str(astronaut_path)]) == 2
    assert "mien weights fetch face_landmarker" in capsys.readouterr().err
