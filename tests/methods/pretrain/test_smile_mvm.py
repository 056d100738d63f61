from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from mien.errors import OptionError, ShapeError, TrainingError, WeightsError  # noqa: E402
from mien.methods.method import create  # noqa: E402
from mien.methods.pretrain.moving_things import Path, ellipse, moving, paste  # noqa: E402
from mien.methods.pretrain.smile_mvm import (  # noqa: E402
    EPS,
    ClipTeacher,
    SmileAutoencoder,
    feature_loss,
    from_authors,
    path_mask,
    path_patches,
    pretrain,
    standardised,
    tube_mask,
)
from mien.methods.pretrain.video_mae import ClipClassifier, tubelets_of  # noqa: E402
from mien.nn.clip import CLIP_MEAN, CLIP_STD, ClipSizes, VisionTower  # noqa: E402
from mien.types.media import IMAGENET_MEAN, IMAGENET_STD  # noqa: E402

GRID = (8, 14, 14)
TINY = {"dim": 16, "depth": 1, "heads": 2, "frames": 4, "size": 32}


def autoencoder(out: int = 24) -> SmileAutoencoder:
    torch.manual_seed(0)
    return SmileAutoencoder(**TINY, decoder=(16, 1, 2), out=out)


def waves(count: int) -> torch.Tensor:
    """Drawn clips of stripes that wander."""
    at = torch.arange(32) / 4 + torch.arange(4)[:, None, None] / 2 + torch.zeros(4, 32, 1)
    return torch.sin(at + torch.arange(count)[:, None, None, None, None] * 0.7).expand(count, 3, 4, 32, 32)


def boxes(seed: int, count: int = 2) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.stack([moving(random).boxes_xyxy_px(224) for _ in range(count)])


@pytest.mark.parametrize("name", ["smile_mvm_s", "smile_mvm_b"])
def test_parameters_without_memory(name: str) -> None:
    with torch.device("meta"):
        network = create(name)
    counted = sum(p.numel() for part, p in network.named_parameters() if not part.startswith("head."))
    assert counted == {"smile_mvm_s": 21_879_936, "smile_mvm_b": 86_227_200}[name]


def test_1248_tubelets_are_hidden_in_both_stages() -> None:
    random = np.random.default_rng(0)
    tube = tube_mask(GRID, random)
    assert (~tube).sum() == 1248 and (tube.reshape(8, 196) == tube[:196]).all()
    for seed in range(20):
        for keep in ("share", "slot"):
            assert (~path_mask(boxes(seed), GRID, random, keep=keep)).sum() == 1248


def test_paths_are_hidden_but_for_what_is_kept() -> None:
    random = np.random.default_rng(0)
    small = np.tile([40.0, 40.0, 70.0, 70.0], (1, 16, 1))
    on_path = path_patches(small, GRID).reshape(-1)
    seen = path_mask(small, GRID, random, keep="slot")
    assert sorted((seen & on_path).reshape(8, 196).any(1).tolist()) == [False] * 7 + [True]
    assert (seen & on_path).sum() == on_path.sum() / 8
    shared = path_mask(small, GRID, random, keep="share", share=0.2)
    assert (shared & on_path).sum() == int(0.2 * on_path.sum())
    with pytest.raises(OptionError, match="expected keep to be 'share' or 'slot'"):
        path_mask(small, GRID, random, keep="none")


def test_boxes_of_two_frames_are_one_and_stay_in_the_grid() -> None:
    box = np.tile([33.0, 17.0, 47.0, 31.0], (1, 16, 1))  # inside the patch (row 1, column 2), and one more
    box[0, 1] = [49, 17, 63, 31]
    found = path_patches(box, GRID)
    assert np.argwhere(found[1]).tolist() == [[1, 2], [1, 3], [2, 2], [2, 3]]
    assert np.argwhere(found[0]).tolist() == [[1, 2], [1, 3], [1, 4], [2, 2], [2, 3], [2, 4]]
    assert path_patches(np.tile([200.0, -50.0, 500.0, 10.0], (1, 16, 1)), GRID).shape == GRID
    with pytest.raises(ShapeError, match=r"expected boxes \(K, 16, 4\)"):
        path_patches(box[:, :8], GRID)


def test_a_path_is_as_slow_as_asked_and_its_box_holds_the_thing() -> None:
    for seed in range(3):
        path = moving(np.random.default_rng(seed), speed_px=5.0)
        assert np.abs(np.diff(path.centre_xy_px, axis=0)).max() <= 5.0 + 1e-9
        clip = paste(torch.zeros(3, 16, 224, 224), torch.ones(3, 9, 9), torch.ones(9, 9), path)
        for frame, (x1, y1, x2, y2) in zip(clip[0], path.boxes_xyxy_px(224), strict=True):
            rows, columns = np.nonzero(frame.numpy() > 0.5)
            if len(rows):
                assert (
                    columns.min() >= x1 - 1
                    and columns.max() <= x2
                    and rows.min() >= y1 - 1
                    and rows.max() <= y2
                )
                if x1 > 0 and x2 < 224 and y1 > 0 and y2 < 224:  # it touches each side
                    assert columns.min() <= x1 + 2 and rows.max() >= y2 - 3


def test_a_thing_that_is_not_turned_is_pasted_whole() -> None:
    still = Path(np.tile([16.0, 12.0], (4, 1)), np.tile([8.0, 4.0], (4, 1)), np.zeros(4))
    clip = paste(torch.zeros(3, 4, 32, 32), torch.full((3, 4, 8), 0.5), torch.ones(4, 8), still)
    assert (clip[:, :, 10:14, 12:20] == 0.5).all() and clip.sum().item() == pytest.approx(0.5 * 32 * 3 * 4)
    shape = ellipse(40, 80)
    assert shape.mean().item() == pytest.approx(np.pi / 4, abs=0.03) and shape[0, 0] == 0


def test_the_teacher_gives_196_tokens_of_8_frames_with_its_own_normalisation() -> None:
    torch.manual_seed(0)
    tower = VisionTower(ClipSizes(patch=16, width=64, depth=1, out=8))
    pixels = 255 * torch.rand(1, 3, 16, 224, 224)

    def normal(mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
        one = (1, 3, 1, 1, 1)
        return (pixels - torch.tensor(mean).view(one)) / torch.tensor(std).view(one)

    found = ClipTeacher(tower)(normal(IMAGENET_MEAN, IMAGENET_STD))
    assert found.shape == (1, 1568, 64) and not found.requires_grad
    with torch.no_grad():
        third = tower.tokens(normal(CLIP_MEAN, CLIP_STD)[:, :, 4])[:, 1:]
    torch.testing.assert_close(found[:, 392:588], third, rtol=1e-3, atol=1e-4)
    assert not any(p.requires_grad for p in tower.parameters())


def test_targets_have_mean_0_and_variance_1_over_the_places() -> None:
    found = standardised(3 + 5 * torch.randn(2, 300, 4, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(found.mean(1), torch.zeros(2, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.var(1), torch.ones(2, 4), atol=1e-4, rtol=0)


def test_the_loss_is_the_error_at_masked_places_alone() -> None:
    network, clips = autoencoder().eval(), waves(2)
    visible = torch.arange(8).lt(2).expand(2, 8)
    wanted = torch.randn(2, 8, 24, generator=torch.Generator().manual_seed(0))
    said = network(clips, visible)
    loss = feature_loss(network, clips, visible, wanted)
    torch.testing.assert_close(loss, torch.nn.functional.mse_loss(said, wanted[:, 2:]))
    loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_pre_training_lowers_the_error() -> None:
    """Twice over: a frozen tower's features, then pixels."""
    torch.manual_seed(0)
    clips, random = waves(4), np.random.default_rng(0)
    grid = (2, 2, 2)
    visible = [torch.from_numpy(np.stack([tube_mask(grid, random, 0.5) for _ in clips])) for _ in range(50)]
    teacher = ClipTeacher(VisionTower(ClipSizes(image=32, patch=16, width=24, depth=1, out=8)))
    for teach, out in ((teacher, 24), (tubelets_of, 1536)):
        network = autoencoder(out)
        losses = pretrain(network, teach, ((clips, mask) for mask in visible), 50, warmup=3, base_lr=1e-2)
        assert np.mean(losses[-5:]) < 0.6 * losses[0], losses
    with pytest.raises(TrainingError, match="expected 3 batches of clips, got 1"):
        pretrain(network, tubelets_of, [(clips, visible[0])], 3, warmup=1)


def test_twice_takes_the_neighbours_mask_too() -> None:
    clips = waves(2)
    visible = torch.stack([torch.arange(8).lt(4), torch.arange(8).ge(4)])
    wanted = standardised(tubelets_of(clips))
    network = autoencoder(1536).train()
    with torch.no_grad():
        each = [feature_loss(network, clips, mask, wanted).item() for mask in (visible, visible.flip(0))]
    for twice, first in ((True, sum(each) / 2), (False, each[0])):
        losses = pretrain(autoencoder(1536), tubelets_of, [(clips, visible)], 1, warmup=1, twice=twice)
        assert losses[0] == pytest.approx(first, rel=1e-5)


def test_the_authors_names() -> None:
    source = autoencoder()
    block = {
        "norm1": "norm1", "norm2": "norm2", "qkv": "attn.qkv", "proj": "attn.proj", "q_bias": "attn.q_bias",
        "v_bias": "attn.v_bias", "mlp.0": "mlp.fc1", "mlp.2": "mlp.fc2",
    }  # fmt: skip
    whole = {
        "encoder.patch": "encoder.patch_embed.proj", "norm": "encoder.norm", "narrow": "encoder_to_decoder",
        "decoder.mask_token": "mask_token", "decoder.norm": "decoder.norm", "decoder.say": "decoder.head",
    }  # fmt: skip
    for part in ("encoder", "decoder"):
        whole |= {f"{part}.blocks.0.{own}": f"{part}.blocks.0.{theirs}" for own, theirs in block.items()}
    state = {}
    for name, value in source.state_dict().items():
        begin = max((own for own in whole if name.startswith(own)), key=len)
        state[whole[begin] + name[len(begin) :]] = value
    torch.manual_seed(1)
    other = SmileAutoencoder(**TINY, decoder=(16, 1, 2), out=24)
    from_authors(other, state)
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in other.state_dict().items())
    network = ClipClassifier(4, 16, 1, 2, 4, 32, EPS)
    from_authors(network, state)
    assert torch.equal(network.encoder.patch.bias, source.encoder.patch.bias)
    del state["encoder.norm.bias"]
    with pytest.raises(WeightsError, match=r"(?s)names of MCG-NJU/VideoMAE, got others.*norm.bias"):
        from_authors(network, state)
