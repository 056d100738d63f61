"""Cues go through the same views as their pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.engine.cues import CUE_PX, load_points, with_cues
from mien.engine.pictures import Pictures
from mien.engine.recipe import Recipe, Views, override
from mien.engine.train import Run
from mien.engine.views import batches, cue_views
from mien.errors import CheckpointError, DataError, DataNotFoundError, OptionError
from mien.methods.method import METHODS
from mien.transforms.au_cues import expression_map
from mien.transforms.shape68 import MEAN_FACE
from mien.types.media import Preprocess

LABELS = ("neutral", "happy", "sad")
PLAIN = Preprocess(48, "mien_face_v1", "GREY", (0.0,), (255.0,))
MOVING = Views(rotate_rad=0.3, zoom=0.2, shift=0.1, shear=0.1)


def faces(count: int = 6) -> Pictures:
    """Pictures that show their own cue: 60 px, the crop at (6, 9) with a side of 48."""
    truth = torch.arange(count) % 3
    matrix = np.array([[48.0, 0, 6], [0, 48, 9]])
    images = np.zeros((count, 1, 60, 60), np.uint8)
    points = MEAN_FACE @ matrix[:, :2].T + matrix[:, 2]
    for row, label in enumerate(truth.tolist()):
        found = expression_map(LABELS[label], points, (60, 60))
        images[row, 0] = 0 if found is None else np.rint(255 * found)
    return Pictures(
        images=torch.from_numpy(images),
        matrices=torch.tensor(matrix, dtype=torch.float32).expand(count, 2, 3),
        targets=torch.eye(3)[truth],
        truth=truth,
        ids=tuple(f"face_{row}" for row in range(count)),
        sha256="drawn",
        placed=np.tile(2 * matrix, (count, 1, 1)),
    )


def alike(first: torch.Tensor, second: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(first.flatten(), second.flatten(), 0))


def recipe_of(views: Views, **changes: object) -> Recipe:
    return Recipe(
        "cues", "multitask_cnn", "drawn", size_px=48, batch_size=6, views=views, rule="au_cue", **changes
    )


def test_a_cue_moves_with_its_picture() -> None:
    """The pictures are their own cues, so that each view of one must be that of the other."""
    pictures = with_cues(faces(), LABELS)
    some = next(batches(pictures, recipe_of(MOVING), PLAIN, epoch=0))
    plain = next(
        batches(pictures, recipe_of(Views(rotate_rad=0, zoom=0, shift=0, shear=0, mirror=False)), PLAIN, 0)
    )
    cues = some.extras["au_cue"]
    assert cues.shape == (6, 48, 48)
    known = ~cues.isnan().flatten(1).all(1)
    assert known.sum() == 4
    assert torch.equal(known, some.targets.argmax(1) > 0)
    for image, cue in zip(some.images[known], cues[known], strict=True):
        assert alike(image[0], cue) > 0.9
        assert 0 <= float(cue.min()) <= float(cue.max()) <= 1
    still = plain.images[plain.targets.argmax(1) > 0]
    assert min(alike(one[0], cue) for one, cue in zip(still, cues[known], strict=True)) < 0.8


def test_the_views_are_the_same_with_and_without_cues() -> None:
    without, with_them = (
        next(batches(pictures, recipe_of(replace(MOVING, degraded=0.5, erase=0.5)), PLAIN, 3))
        for pictures in (faces(), with_cues(faces(), LABELS))
    )
    assert torch.equal(without.images, with_them.images)
    assert "au_cue" not in without.extras


def test_without_points_each_class_has_the_mean_faces_cue() -> None:
    pictures = with_cues(faces(), LABELS)
    assert pictures.cues.maps.shape == (2, 1, 42, 42)
    assert pictures.cues.rows.tolist() == [-1, 0, 1, -1, 0, 1]
    cues = cue_views(pictures, torch.arange(6), 48, Views(), None)["au_cue"]
    wanted = expression_map("happy", MEAN_FACE * CUE_PX, (CUE_PX, CUE_PX))
    small = torch.nn.functional.interpolate(cues[None, 1:2], (CUE_PX, CUE_PX), mode="area")[0, 0]
    assert alike(small, torch.from_numpy(wanted)) > 0.97


def test_points_of_the_picture_as_read_place_the_cue() -> None:
    """The picture as it was read is twice as large as the one that is kept."""
    points = {f"face_{row}": MEAN_FACE * 96 + [12, 18] for row in (1, 2)}
    points["face_2"] = points["face_2"] + [0, 20]  # the face lies lower than its crop says
    pictures = with_cues(faces(), LABELS, points)
    assert pictures.cues.rows.tolist() == [-1, 0, 1, -1, -1, -1]
    mean = with_cues(faces(), LABELS)
    assert torch.equal(pictures.cues.maps[0], mean.cues.maps[0])
    heights = [
        float((one.float().sum(1) * torch.arange(42)).sum() / one.sum())
        for one in (pictures.cues.maps[1, 0], mean.cues.maps[1, 0])
    ]
    assert heights[0] - heights[1] == pytest.approx(20 / 96 * CUE_PX, abs=1.5)


def test_a_file_of_points_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "points.npz"
    np.savez(path, ids=np.array(["a", "b"]), points=np.zeros((2, 68, 2), np.float32))
    assert set(load_points(path)) == {"a", "b"}
    np.savez(path, ids=np.array(["a"]), points=np.zeros((2, 68, 2)))
    with pytest.raises(DataError, match=r"expected points \(1, 68, 2\)"):
        load_points(path)
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match="`ids` and `points`"):
        load_points(path)
    with pytest.raises(DataNotFoundError, match="no such file"):
        load_points(tmp_path / "absent.npz")


def test_what_gives_no_cue_is_said() -> None:
    with pytest.raises(DataError, match="got none of 6"):
        with_cues(faces(), LABELS, {"somebody": MEAN_FACE})
    with pytest.raises(DataError, match="places are known"):
        with_cues(replace(faces(), placed=None), LABELS, {"face_1": MEAN_FACE})
    with pytest.raises(OptionError, match=r"views\.mixup of 0 with cues"):
        next(batches(with_cues(faces(), LABELS), recipe_of(replace(MOVING, mixup=0.2)), PLAIN, 0))


def test_a_run_with_a_rule_learns_and_goes_on(
    make_run: Callable[..., Run],
    pictures: tuple[Pictures, Pictures],
    protocol,
    recipe: Recipe,
    tmp_path: Path,
) -> None:
    settings = ["rule=au_cue", "rule_options.weight=2.0", "epochs=1", "steps=2"]
    cued = with_cues(pictures[0], LABELS)
    run = Run(override(recipe, settings), protocol, cued, pictures[1], tmp_path / "cued")
    run.go()
    plain = make_run("plain", ["epochs=1", "steps=2"])
    plain.go()
    first, second = (one.measured.state_dict() for one in (run, plain))
    assert any(not torch.equal(value, second[name]) for name, value in first.items())
    again = Run(override(recipe, [*settings, "epochs=2"]), protocol, cued, pictures[1], tmp_path / "cued")
    again.go()
    assert again.state["epoch"] == 2
    other = replace(cued, cues=replace(cued.cues, sha256="other"))
    with pytest.raises(CheckpointError, match=r"whose data\.cues is .*, got 'other'"):
        Run(override(recipe, settings), protocol, other, pictures[1], tmp_path / "cued").go()
    with pytest.raises(OptionError, match=r"no torch\.compile with the rule 'au_cue'"):
        Run(override(recipe, settings), protocol, cued, pictures[1], tmp_path / "new", compiled=True)
    assert METHODS[recipe.method].task(run.measured).logits(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
