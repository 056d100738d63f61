from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")
pytest.importorskip("onnx", reason="the shipped trunk needs onnx: pip install 'mien[train]'")

from mien.errors import OptionError, ShapeError  # noqa: E402
from mien.methods.language.tinyemo import (  # noqa: E402
    LOSSES,
    MetricProjector,
    NearestWord,
    cosine_loss,
    cosines,
    info_nce,
    nt_xent,
    set_words,
    tinyemo,
)
from mien.methods.task import Batch  # noqa: E402


def drawn(rows: int, wide: int = 5, seed: int = 0):
    return torch.randn(rows, wide, generator=torch.Generator().manual_seed(seed))


def test_the_projector_has_the_published_size() -> None:
    counted = sum(parameter.numel() for parameter in MetricProjector(768, 1280).parameters())
    assert counted == 768 * 1280 + 1280 + 2 * 1280 + 1280 * 1280 + 1280


def test_the_cosine_loss_is_zero_for_aligned_embeddings_alone() -> None:
    words, classes = drawn(3), torch.tensor([0, 1, 2])
    assert cosine_loss(4 * words, words, classes).item() == pytest.approx(0, abs=1e-6)
    assert cosine_loss(-words, words, classes).item() == pytest.approx(2, abs=1e-6)
    assert cosine_loss(words, words, classes.flip(0)).item() > 0.1


def slow(embeddings, words, classes, temperature: float, own_only: bool) -> float:
    """Both contrasts by their definition, term by term."""
    near = (cosines(embeddings, words) / temperature).double().exp()
    terms = []
    for face, label in enumerate(classes):
        against = sum(near[face, other] for other in classes if other not in (label, -1))
        for other, named in enumerate(classes):
            if label >= 0 and named == label and (other == face or not own_only):
                terms.append(-torch.log(near[face, label] / (near[face, label] + against)))
    return torch.stack(terms).mean().item()


def test_the_contrasts_are_as_defined_and_skip_rows_without_a_class() -> None:
    embeddings, words, classes = drawn(6, seed=1), drawn(4, seed=2), [0, 2, -1, 0, 3, 2]
    for loss, temperature, own_only in ((info_nce, 0.1, True), (nt_xent, 0.07, False)):
        found = loss(embeddings, words, torch.tensor(classes)).item()
        assert found == pytest.approx(slow(embeddings, words, classes, temperature, own_only), rel=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_a_row_without_a_class_changes_nothing_and_alone_gives_zero_gradients(name: str) -> None:
    embeddings, words = drawn(4, seed=1).requires_grad_(), drawn(3, seed=2)
    classes = torch.tensor([0, 1, 2, -1])
    whole, without = (
        LOSSES[name](embeddings, words, classes),
        LOSSES[name](embeddings[:3], words, classes[:3]),
    )
    assert whole.item() == pytest.approx(without.item(), rel=1e-6)
    nothing = LOSSES[name](embeddings, words, torch.full((4,), -1))
    nothing.backward()
    assert nothing.item() == 0
    assert embeddings.grad is not None and not embeddings.grad.any()


@pytest.mark.parametrize("name", ["info_nce", "nt_xent"])
def test_a_batch_of_one_class_has_nothing_to_contrast_and_no_nan(name: str) -> None:
    embeddings = drawn(4).requires_grad_()
    loss = LOSSES[name](embeddings, drawn(3), torch.zeros(4, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0
    assert embeddings.grad is not None and not embeddings.grad.any()


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return tinyemo()


def test_answers_are_cosines_and_the_tower_never_learns(network) -> None:
    images = torch.rand(4, 3, 64, 64) * 2 - 1
    network.train()
    before = {name: value.clone() for name, value in network.tower.state_dict().items()}
    NearestWord(network).loss(Batch(images, torch.eye(8)[:4])).backward()
    assert all(parameter.grad is None for parameter in network.tower.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.tower.state_dict().items())
    assert network.head.weight.grad is None
    network.eval()
    with torch.no_grad():
        found = network(images)
        assert found.shape == (4, 8) and found.abs().max() <= 1 + 1e-6
        assert torch.allclose(
            network(images[:1]), found[:1], atol=1e-5
        )  # one picture: statistics are not its own


def test_other_words_may_be_asked_than_were_learned(network, tmp_path: Path) -> None:
    np.savez(tmp_path / "words.npz", words=drawn(3, 576).numpy())
    other = tinyemo(3, words=str(tmp_path / "words.npz")).eval()
    with torch.no_grad():
        assert other(torch.zeros(2, 3, 64, 64)).shape == (2, 3)
        set_words(other, drawn(25, 576))
        assert other(torch.zeros(2, 3, 64, 64)).shape == (2, 25)
    with pytest.raises(ShapeError, match="expected 8 words"):
        tinyemo(8, words=str(tmp_path / "words.npz"))
    with pytest.raises(ShapeError, match=r"expected words \(K, 576\)"):
        set_words(other, drawn(8, 5))
    with pytest.raises(OptionError, match="expected a loss of"):
        tinyemo(loss="triplet")
