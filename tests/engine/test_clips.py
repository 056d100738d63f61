"""Networks of clips: the same engine, with frames."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mien.datasets.protocol import Protocol
from mien.datasets.samples import Clip, Samples
from mien.engine import cut_outs
from mien.engine.export import export
from mien.engine.network import preprocess_of
from mien.engine.pictures import Pictures, prepare
from mien.engine.recipe import Recipe, override
from mien.engine.train import Run
from mien.engine.views import batches, plain_views
from mien.errors import DataError, OptionError, ShapeError, WeightsError
from mien.evaluate.clips import outputs_of_clips
from mien.methods.method import METHODS, Counts, Method, Paper
from mien.methods.runner import ExpressionRunner
from mien.pipeline.analyzer import Analyzer
from mien.types.media import Preprocess
from mien.types.mesh import BLENDSHAPES, Mesh
from mien.weights.store import load_weights

LABELS = ("neutral", "happy", "sad")
T, SIZE = 4, 16


class TinyClips(nn.Module):
    """What each frame differs from the one before, pooled: order counts."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 8, (2, 3, 3), padding=(0, 1, 1))
        self.head = nn.Linear(8, classes)

    def forward(self, clips: Tensor) -> Tensor:
        return self.head(torch.relu(self.conv(clips)).mean((2, 3, 4)))


@pytest.fixture(autouse=True)
def tiny() -> Iterator[None]:
    """A method of clips that is registered while a test runs."""
    names = list(METHODS)
    half = (127.5, 127.5, 127.5)
    METHODS.add(
        "tiny_clips",
        Method(
            "tiny_clips", lambda classes=3: TinyClips(classes), Paper("", "", 2026, ""),
            Preprocess(SIZE, "mien_face_v1", "RGB", half, half, T), LABELS, Counts(), (), (),
        ),
    )  # fmt: skip
    yield
    del METHODS._entries["tiny_clips"]
    assert list(METHODS) == names


def drawn_clips(count: int, seed: int, spare: int = 1, framing: str = "crop") -> Samples:
    """Clips of 12 grey frames: a bar that stays, falls or rises. Clip 1 cannot be read, clip 2 has no face."""
    random = np.random.default_rng(seed)
    truth = np.arange(count) % 3
    images = random.integers(0, 60, (count, 12, SIZE, SIZE)).astype(np.uint8)
    for row, way in enumerate(truth):
        for frame in range(12):
            place = {0: 6, 1: frame, 2: 11 - frame}[way]
            images[row, frame, place : place + 4] += 150

    def open_one(row: int) -> Clip:
        if row == 1 and framing == "photo":
            raise DataError("clip 1 is damaged")
        return Clip(12, lambda indices: [images[row, index] for index in indices])

    ids = tuple(f"clip {row}" for row in range(count))
    return Samples(
        ids, LABELS, truth, lambda row: images[row, 6], framing, f"drawn-{seed}", clip=open_one
    )  # fmt: skip


def whole_picture(images: list[np.ndarray], framing: str, detector: object) -> tuple[np.ndarray, np.ndarray]:
    """Instead of a detector: the template's points over the whole picture."""
    points = np.array([[0.32, 0.37], [0.68, 0.37], [0.5, 0.567], [0.356, 0.738], [0.644, 0.738]]) * SIZE
    return np.tile(points, (len(images), 1, 1)), np.ones(len(images), bool)


@pytest.fixture(autouse=True)
def no_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut_outs, "crop_detector", lambda: None)
    monkeypatch.setattr(cut_outs, "points_of_clip", whole_picture)
    monkeypatch.setattr("mien.evaluate.clips.crop_detector", lambda: None)
    monkeypatch.setattr("mien.evaluate.clips.points_of_clip", whole_picture)


@pytest.fixture
def recipe() -> Recipe:
    small = Recipe("drawn", "tiny_clips", "drawn", epochs=12, batch_size=8)
    return override(
        small,
        ["views.mirror=false", "views.rotate_rad=0", "views.zoom=0", "views.shift=0.02", "views.shear=0",
         "optim.lr=0.02", "schedule.warmup_epochs=0"],
    )  # fmt: skip


def prepared(count: int, seed: int, spare: int) -> Pictures:
    return prepare(drawn_clips(count, seed), "mien_face_v1", SIZE, frames=T, spare=spare)


@pytest.mark.parametrize("limit", [4 * 2**30, 0], ids=["memory", "file"])
def test_clips_are_cut_out_frame_by_frame(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut_outs, "IN_MEMORY", limit)
    found = prepared(4, 0, 3)
    assert found.images.shape == (4, 12, 1, 24, 24) and found.frames == T and found.spare == 3
    plain = plain_views(found, torch.arange(2), SIZE)
    assert plain.shape == (2, 3, T, SIZE, SIZE)
    clip = drawn_clips(4, 0).clip(1)  # type: ignore[misc]
    for place, image in enumerate(
        clip.read([1, 4, 7, 10])
    ):  # the middle of each of four parts of twelve frames
        assert np.abs(plain[1, 0, place].numpy() - image).max() < 2
    assert torch.equal(plain_views(prepared(4, 0, 1), torch.arange(2), SIZE), plain)


def test_what_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = iter([True, False, True, True])
    monkeypatch.setattr(
        cut_outs,
        "points_of_clip",
        lambda images, *_: (whole_picture(images, "", None)[0], np.full(len(images), next(seen))),
    )
    found = prepare(drawn_clips(5, 0, framing="photo"), "mien_face_v1", SIZE, frames=T)
    assert found.ids == ("clip 0", "clip 3", "clip 4") and found.truth.tolist() == [0, 0, 1]
    assert found.failures == ("clip 1 is damaged", "clip 2: no face found in any of 4 frames")


def test_all_frames_of_a_clip_are_seen_alike(recipe: Recipe) -> None:
    """Whatever moves, darkens or covers a clip does so in all its frames; other clips are seen otherwise."""
    still = prepared(8, 0, 1)
    images = still.images[:1, :1].expand(8, T, -1, -1, -1).contiguous()
    wild = override(
        recipe, ["views.rotate_rad=0.3", "views.degraded=1", "views.erase=1", "views.mirror=true"]
    )
    (batch,) = batches(replace(still, images=images), wild, preprocess_of(recipe), 0)
    assert batch.images.shape == (8, 3, T, SIZE, SIZE)
    for frame in range(1, T):
        assert torch.equal(batch.images[:, :, frame], batch.images[:, :, 0])
    assert len({one.numpy().tobytes() for one in batch.images}) == 8


def test_frames_are_drawn_anew_from_their_segment(recipe: Recipe) -> None:
    """With frames that are their own number, each one comes from its own third, and epochs differ."""
    clips = prepared(8, 0, 3)
    numbers = torch.arange(12, dtype=torch.uint8).view(1, 12, 1, 1, 1).expand_as(clips.images) * 10
    still = override(recipe, ["views.shift=0"])
    seen = []
    for epoch in range(6):
        (batch,) = batches(replace(clips, images=numbers), still, preprocess_of(recipe), epoch)
        seen.append((batch.images[:, 0, :, 0, 0] * 127.5 + 127.5).round().long() // 10)
    together = torch.cat(seen)
    assert (together // 3 == torch.arange(T)).all()
    assert {int(place) for place in together.flatten() % 3} == {0, 1, 2}
    (again,) = batches(replace(clips, images=numbers), still, preprocess_of(recipe), 0)
    assert torch.equal((again.images[:, 0, :, 0, 0] * 127.5 + 127.5).round().long() // 10, seen[0])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_clip_network_learns_exports_and_answers_alike(
    recipe: Recipe, protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of the frames is what tells the classes; the file says how many frames it wants, and is enough."""
    plain = Run.facts
    monkeypatch.setattr(Run, "facts", lambda self: {**plain(self), "dataset": "ferplus"})
    run = Run(recipe, protocol, prepared(48, 0, 3), prepared(18, 1, 1), tmp_path / "run")
    run.go()
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert max(line["select_score"] for line in log) > 0.9
    out = tmp_path / "clips.onnx"
    export(tmp_path / "run", out)
    weights = load_weights(out)
    assert weights.preprocess is not None and weights.preprocess.frames == T
    runner = ExpressionRunner(weights, 1)
    outputs, found, failures, used, pixels = outputs_of_clips(drawn_clips(18, 1), np.arange(18), runner)
    assert (outputs.argmax(1) == np.arange(18) % 3).mean() > 0.9
    assert found.all() and not failures and len(used) == 18 and len(pixels) == 64
    crops = np.zeros((5, T, SIZE, SIZE, 3), np.uint8)
    assert runner.probabilities(runner.logits(crops)).values.shape == (5, 3)
    with pytest.raises(ShapeError, match=r"expected aligned crops, uint8 \(N, 4, 16, 16, 3\)"):
        runner.logits(crops[:, 0])
    with pytest.raises(
        WeightsError, match="expected a network for single pictures, got 'clips' for clips of 4"
    ):
        Analyzer(out)


def test_a_run_goes_on_to_the_same_bits(recipe: Recipe, protocol: Protocol, tmp_path: Path) -> None:
    parts = prepared(24, 0, 3), prepared(6, 1, 1)
    recipe = override(recipe, ["schedule.name=constant"])
    whole = Run(replace(recipe, epochs=2), protocol, *parts, tmp_path / "whole")
    whole.go()
    Run(replace(recipe, epochs=1), protocol, *parts, tmp_path / "cut").go()
    rest = Run(replace(recipe, epochs=2), protocol, *parts, tmp_path / "cut")
    torch.manual_seed(5)
    rest.go()
    for one, other in zip(whole.network.parameters(), rest.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_clips_and_pictures_are_not_mixed_up(
    recipe: Recipe, protocol: Protocol, pictures: tuple[Pictures, Pictures], tmp_path: Path
) -> None:
    alone = replace(drawn_clips(4, 0), clip=None)
    with pytest.raises(OptionError, match="expected clips for a network of several frames"):
        prepare(alone, "mien_face_v1", SIZE, frames=T)
    with pytest.raises(OptionError, match="expected 4 frames a sample for 'tiny_clips', got single pictures"):
        Run(recipe, protocol, *pictures, tmp_path / "a")
    clips = prepared(6, 0, 1)
    with pytest.raises(OptionError, match="expected no frames a sample for 'mobile_expression', got 4"):
        Run(replace(recipe, method="mobile_expression"), protocol, clips, clips, tmp_path / "b")
    with pytest.raises(OptionError, match="expected no rule for a network of clips or"):
        Run(replace(recipe, rule="au_cue"), protocol, clips, clips, tmp_path / "c")
    with pytest.raises(OptionError, match="expected no frames for 'mobile_expression'"):
        preprocess_of(replace(recipe, method="mobile_expression", frames=8))
    assert preprocess_of(replace(recipe, frames=8)).shape == (3, 8, SIZE, SIZE)


class FakeMesh:
    """Reads how bright a face is into `jawOpen`; a dark one cannot be read."""

    def read(self, image: np.ndarray, landmarks_xy_px: np.ndarray) -> Mesh:
        light = float(image.mean()) / 255
        values = np.zeros((1, 52), np.float32)
        values[0, BLENDSHAPES.index("jawOpen")] = light
        nothing = np.zeros((1, 3), np.float32)
        reason = "too dark" if light < 0.2 else ""
        points = np.zeros((1, 478, 3), np.float32)
        return Mesh(points, np.ones(1, np.float32), values, nothing, nothing, (reason,))


@pytest.fixture
def meshes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mien.engine.blendshapes", "mien.evaluate.clips"):
        monkeypatch.setattr(f"{name}.FaceMesh", FakeMesh)
    monkeypatch.setattr("mien.engine.blendshapes.crop_detector", lambda: None)
    monkeypatch.setattr("mien.faces.mesh.points_of_clip", whole_picture)


def lit_clips(levels: list[list[int]]) -> Samples:
    """Clips of even frames, so bright; class 0 gets brighter, class 1 darker."""
    images = [[np.full((SIZE, SIZE), level, np.uint8) for level in one] for one in levels]
    truth = np.array([int(one[-1] < one[0]) for one in levels])
    ids = tuple(f"clip {row}" for row in range(len(levels)))

    def open_one(row: int) -> Clip:
        return Clip(len(images[row]), lambda places: [images[row][place] for place in places])

    return Samples(ids, LABELS, truth, lambda row: images[row][0], "crop", "lit", clip=open_one)


@pytest.mark.usefixtures("meshes")
def test_blendshapes_are_read_frame_by_frame() -> None:
    samples = lit_clips([[100, 20, 30, 200], [10, 10, 10, 10], [200, 150, 120, 100]])
    found = prepare(samples, "mesh", 256, frames=4)
    assert found.images.shape == (2, 4, 52) and found.frames == 4 and found.of_mesh
    assert found.ids == ("clip 0", "clip 2") and found.failures == ("clip 1: no mesh could be read",)
    light = found.images[0, :, BLENDSHAPES.index("jawOpen")] * 255
    assert light.tolist() == pytest.approx([100, 100, 200, 200]), "dark frames take the nearest one's values"
    alone = prepare(replace(samples, clip=None), "mesh", 256)
    assert alone.images.shape == (2, 52) and alone.frames is None


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("meshes")
def test_a_network_of_blendshapes_learns_and_exports(
    protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Run.facts
    monkeypatch.setattr(Run, "facts", lambda self: {**plain(self), "dataset": "ferplus"})
    random = np.random.default_rng(0)
    ways = [sorted(random.integers(60, 250, 6).tolist(), reverse=bool(row % 2)) for row in range(40)]
    samples = lit_clips(ways)
    recipe = Recipe("drawn", "lstm_blendshapes_clip", "drawn", frames=4, epochs=15, batch_size=8)
    recipe = override(recipe, ["optim.lr=0.01", "schedule.warmup_epochs=0"])
    parts = (prepare(samples, "mesh", 256, frames=4, spare=spare) for spare in (3, 1))
    run = Run(recipe, protocol, *parts, tmp_path / "run")
    run.go()
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert max(line["select_score"] for line in log) > 0.9
    out = tmp_path / "lstm.onnx"
    export(tmp_path / "run", out)
    runner = ExpressionRunner(load_weights(out), 1)
    outputs, *_ = outputs_of_clips(samples, np.arange(40), runner)
    assert (outputs.argmax(1) == samples.target).mean() > 0.9
    with pytest.raises(ShapeError, match=r"expected blendshapes, float32 \(N, 4, 52\)"):
        runner.logits(np.zeros((1, 52), np.float32))
