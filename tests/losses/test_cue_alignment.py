from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from mien.errors import ShapeError  # noqa: E402
from mien.losses.cue_alignment import cosines, cue_alignment, resized_cues  # noqa: E402

CUES = torch.rand(3, 6, 5, generator=torch.Generator().manual_seed(0)) + 0.1


def maps_like(attention: torch.Tensor) -> torch.Tensor:
    """Four channels whose mean is that attention."""
    noise = torch.randn(len(attention), 4, *attention.shape[1:], generator=torch.Generator().manual_seed(1))
    return noise - noise.mean(1, keepdim=True) + attention[:, None]


def test_aligned_is_0_and_opposed_is_2() -> None:
    assert float(cue_alignment(maps_like(3 * CUES), CUES)) == pytest.approx(0, abs=1e-6)
    assert float(cue_alignment(maps_like(-CUES), CUES)) == pytest.approx(2, abs=1e-6)


def test_it_knows_no_positive_scale() -> None:
    maps = torch.randn(3, 4, 6, 5, generator=torch.Generator().manual_seed(2))
    assert float(cue_alignment(7 * maps, CUES)) == pytest.approx(float(cue_alignment(maps, CUES)), abs=1e-6)
    assert float(cue_alignment(maps, 0.2 * CUES)) == pytest.approx(float(cue_alignment(maps, CUES)), abs=1e-6)


def test_it_is_the_mean_over_pictures_with_a_cue() -> None:
    maps = torch.randn(3, 4, 6, 5, generator=torch.Generator().manual_seed(2))
    cues = CUES.clone()
    cues[1] = torch.nan
    by_hand = 1 - torch.nn.functional.cosine_similarity(
        maps.mean(1)[[0, 2]].flatten(1), CUES[[0, 2]].flatten(1)
    )
    assert float(cue_alignment(maps, cues)) == pytest.approx(float(by_hand.mean()), abs=1e-6)


def test_without_any_cue_it_is_0_with_a_gradient_of_0() -> None:
    maps = torch.randn(3, 4, 6, 5, requires_grad=True)
    loss = cue_alignment(maps, torch.full((3, 6, 5), torch.nan))
    loss.backward()
    assert float(loss) == 0
    assert torch.equal(maps.grad, torch.zeros_like(maps))


def test_gradients_flow_to_the_maps_alone() -> None:
    maps, cues = torch.randn(3, 4, 6, 5, requires_grad=True), CUES.clone().requires_grad_(True)
    cue_alignment(maps, cues).backward()
    assert float(maps.grad.abs().sum()) > 0
    assert cues.grad is None
    double = torch.randn(2, 2, 3, 3, dtype=torch.double, requires_grad=True)
    assert cue_alignment(double, CUES[:2]).dtype == torch.float32


def test_cues_are_resized_within_their_range() -> None:
    large = torch.zeros(1, 12, 12)
    large[0, 4:8, 4:8] = 1
    small = resized_cues(large, (4, 4))
    assert small.shape == (1, 4, 4)
    assert float(small.min()) >= 0
    assert float(small.max()) <= 1
    assert float(small[0, 1:3, 1:3].mean()) > 3 * float(small[0, 0].mean())
    assert cosines(small, large).item() == pytest.approx(1)


def test_what_is_no_cue_is_refused() -> None:
    maps = torch.randn(3, 4, 6, 5)
    broken = CUES.clone()
    broken[0, 0, 0] = torch.nan
    for cues in (broken, -CUES, torch.zeros(3, 6, 5)):
        with pytest.raises(ShapeError, match="negative, empty or NaN in part"):
            cue_alignment(maps, cues)
    with pytest.raises(ShapeError, match=r"maps \(B, K, h, w\) and as many cues"):
        cue_alignment(maps, CUES[:2])
