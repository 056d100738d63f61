from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.cli.main import main
from mien.pipeline.flow_drawing import HEAD_PX

pytest.importorskip("cv2", reason="optical flow needs OpenCV: pip install 'mien[flow]'")


@pytest.fixture
def pair(tmp_path: Path, portrait: np.ndarray) -> tuple[Path, Path]:
    """The portrait, and the same with its mouth drawn two pixels down."""
    moved = portrait.copy()
    face = slice(100, 160), slice(90, 170)
    moved[face] = np.roll(portrait, 2, axis=0)[face]
    paths = tmp_path / "onset.png", tmp_path / "apex.png"
    for path, picture in zip(paths, (portrait, moved), strict=True):
        Image.fromarray(picture).save(path)
    return paths


def test_numbers_map_and_picture(pair: tuple[Path, Path], tmp_path: Path, capsys) -> None:
    out, look = tmp_path / "flow.npz", tmp_path / "look.png"
    assert main(["flow", *map(str, pair), "--out", str(out), "--picture", str(look), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    with np.load(out) as stored:
        motion, maps = stored["motion"], stored["map"]
    assert motion.shape == (128, 128, 3) and maps.shape == (28, 28, 3)
    assert motion[..., 1].max() > 0.5 and figures["largest_px"] > 0.5
    drawn = np.asarray(Image.open(look))
    assert drawn.shape == (HEAD_PX + 384, 4 * 384, 3)
    heads = np.split(drawn[:HEAD_PX], 4, axis=1)
    assert all((head == 255).mean() > 0.5 and (head < 100).any() for head in heads)  # a title each
    assert not list(tmp_path.glob("*.part"))
    assert main(["flow", *map(str, pair), "--out", str(tmp_path / "map.png"), "--size", "40"]) == 0
    assert Image.open(tmp_path / "map.png").size == (40, 40)


def test_bad_input_is_refused(pair: tuple[Path, Path], tmp_path: Path, capsys) -> None:
    blank = tmp_path / "blank.png"
    Image.fromarray(np.full((256, 256, 3), 90, np.uint8)).save(blank)
    small = tmp_path / "small.png"
    Image.open(pair[0]).resize((99, 99)).save(small)
    for arguments, said in (
        ([pair[0], pair[1], "--out", tmp_path / "flow.txt"], "ending .npz or .png"),
        ([blank, blank, "--out", tmp_path / "a.npz"], "expected a face in the onset, got none"),
        ([pair[0], small, "--out", tmp_path / "a.npz"], "expected frames of one size"),
        ([pair[0], tmp_path / "gone.png", "--out", tmp_path / "a.npz"], "got no file"),
        ([*pair, "--size", "0", "--out", tmp_path / "a.npz"], "expected --size of at least 1"),
    ):
        assert main(["flow", *map(str, arguments)]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "a.npz").exists()
    assert main(["flow", str(blank), str(blank), "--aligned", "--out", str(tmp_path / "a.npz")]) == 0
