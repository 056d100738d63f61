from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from mien.errors import OptionError, ShapeError  # noqa: E402
from mien.methods.dynamic.clip_prompts import padded  # noqa: E402
from mien.methods.dynamic.finecliper import (  # noqa: E402
    FineCliper,
    FineCliperTask,
    contrast,
    ranking_loss,
)
from mien.methods.method import METHODS, create  # noqa: E402
from mien.methods.task import Batch  # noqa: E402
from mien.nn.clip import ClipSizes  # noqa: E402

SIZES = ClipSizes(image=32, patch=16, width=64, depth=2, text_width=64, text_depth=2, out=32)
SHOWS, OPPOSES = [[320, 1710], [320, 4932, 267], [5]], [[7], [8, 9], [10]]


def network(**options: object) -> FineCliper:
    torch.manual_seed(0)
    return FineCliper(SHOWS, OPPOSES, learned=2, frames=4, sizes=SIZES, **options).eval()


def stirred(net: FineCliper) -> FineCliper:
    """Adapters that do something."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in net.named_parameters():
        if "adapters" in name and ".up." in name:
            torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return net


def clips(count: int, streams: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3 * streams, 4, 32, 32, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["finecliper", "finecliper_frames"])
def test_parameters_without_memory(name: str) -> None:
    with torch.device("meta"):
        net = create(name)
    streams = {"finecliper": 3, "finecliper_frames": 1}[name]
    adapter = 2 * 768 * 192 + 192 + 768
    assert sum(p.numel() for p in net.adapters.parameters()) == streams * 12 * 3 * adapter
    assert sum(p.numel() for p in net.parameters()) == METHODS[name].counts.parameters
    assert METHODS[name].labels == ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear")


def test_a_fresh_adapted_clip_is_the_frozen_one() -> None:
    net = network()
    with torch.no_grad():
        frames = torch.stack([net.vision(clips(2, 1)[:, :, frame]) for frame in range(4)], 1)
        wanted = torch.nn.functional.normalize(frames.mean(1), dim=1)
        for stream in range(3):
            torch.testing.assert_close(net.stream(clips(2, 1), stream), wanted, rtol=1e-4, atol=1e-5)
        tokens = padded(SHOWS)
        plain = torch.nn.functional.normalize(net.text(tokens), dim=1)
        torch.testing.assert_close(net.caption(tokens), plain, rtol=1e-4, atol=1e-5)


def test_streams_share_the_frozen_weights_and_have_their_own_adapters() -> None:
    net = stirred(network())
    with torch.no_grad():
        first, second = net.stream(clips(1, 1), 0), net.stream(clips(1, 1), 1)
        assert not torch.allclose(first, second)
        net.adapters[1].load_state_dict(net.adapters[0].state_dict())
        torch.testing.assert_close(net.stream(clips(1, 1), 1), first)


def test_time_attends_over_frames_at_each_place() -> None:
    net = stirred(network(maps=False))
    block, adapters = net.vision.blocks[0], net.adapters[0][0]
    for part in (adapters.space, adapters.joint):
        torch.nn.init.zeros_(part.up.weight)
        torch.nn.init.zeros_(part.up.bias)
    x = torch.randn(8, 5, 64, generator=torch.Generator().manual_seed(0))  # 2 clips of 4 frames, 5 tokens
    with torch.no_grad():
        found, moved = adapters(block, x, 4), x.clone()
        for clip in range(2):
            for place in range(5):
                line = x[4 * clip : 4 * clip + 4, place][None]
                moved[4 * clip : 4 * clip + 4, place] += adapters.time(block.attend(block.norm1(line)))[0]
        torch.testing.assert_close(found, block(moved), rtol=1e-4, atol=1e-4)
    changed = clips(1, 1)
    changed[:, :, 3] += 1
    with torch.no_grad():
        assert not torch.allclose(net(clips(1, 1).flip(2))["expression"], net(changed)["expression"])


def test_without_lambda_only_what_is_shown_counts() -> None:
    net, bare = network(), network(against=0.0)
    assert bare.opposes is None and net.opposes is not None
    bare.load_state_dict({k: v for k, v in net.state_dict().items() if not k.startswith("opposes.")})
    with torch.no_grad():
        shown, opposed = net.classes()
        features = torch.nn.functional.normalize(torch.randn(2, 32), dim=1)
        torch.testing.assert_close(bare.score(features, bare.classes()), 100 * features @ shown.T)
        wanted = 100 * (features @ shown.T - 0.5 * features @ opposed.T)
        torch.testing.assert_close(net.score(features, (shown, opposed)), wanted)


def test_adapters_weights_of_streams_and_prompts_alone_are_trained() -> None:
    net = stirred(network()).train()
    captions = torch.cat([padded([[11, 12]]), torch.zeros(2, 4, dtype=torch.int64)])
    FineCliperTask(net).loss(Batch(clips(3), torch.eye(3), {"caption": captions})).backward()
    for name, parameter in net.named_parameters():
        trained = name.startswith(("adapters.", "text_adapters.", "mixture", "shows.", "opposes."))
        assert parameter.requires_grad == trained, name
        assert (parameter.grad is not None and bool(parameter.grad.any())) == trained, name


def test_the_loss_is_the_sum_of_its_terms() -> None:
    net, targets = stirred(network()).train(), torch.eye(3)
    captions = padded([[11, 12], [13], [14, 15]])
    found = net(clips(3))
    terms = [torch.nn.functional.cross_entropy(found["expression"], targets)]
    terms += [torch.nn.functional.cross_entropy(logits, targets) for logits in found["streams"][1:]]
    terms.append(ranking_loss(found["clip"], found["shows"], found["opposes"], targets))
    plain = FineCliperTask(net).loss(Batch(clips(3), targets))
    torch.testing.assert_close(plain, sum(terms), rtol=1e-4, atol=1e-3)
    said = net.caption(captions)
    terms.append(
        torch.nn.functional.cross_entropy(net.score(said, (found["shows"], found["opposes"])), targets)
    )
    terms.append(contrast(found["clip"], said))
    told = FineCliperTask(net).loss(Batch(clips(3), targets, {"caption": captions}))
    torch.testing.assert_close(told, sum(terms), rtol=1e-4, atol=1e-3)
    none = FineCliperTask(net).loss(Batch(clips(3), targets, {"caption": torch.full((3, 5), -1)}))
    torch.testing.assert_close(none, plain)


def test_losses_in_closed_form() -> None:
    one = torch.eye(2)
    shows, opposes = torch.tensor([[0.0, 1], [1, 0]]) / 100, torch.tensor([[0.0, 3], [0, 0]]) / 100
    # The first clip is of class 1, whose sentences have cosines 0.01 and 0; the second is of no class.
    found = ranking_loss(one, shows, opposes, torch.tensor([[0.0, 1], [0, 0]]))
    assert found.item() == pytest.approx(math.log(1 + math.exp(-1)))
    nothing = ranking_loss(one.clone().requires_grad_(), shows, opposes, torch.zeros(2, 2))
    assert nothing.item() == 0 and nothing.requires_grad
    angle = torch.tensor([[1.0, 0], [0.99, 0]])
    assert contrast(angle, torch.tensor([[1.0, 0], [1.0, 0]])).item() == pytest.approx(
        (math.log(2) + (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(1))) / 2) / 2, rel=1e-4
    )


def test_what_cannot_be_built_or_taken_is_refused() -> None:
    for options in ({"against": -1.0}, {"ratio": 0.0}):
        with pytest.raises(OptionError, match="expected against of at least 0 and a ratio"):
            network(**options)
    with pytest.raises(ShapeError, match=r"expected faces \(B, 9, 4, 32, 32\)"):
        network()(clips(1, 1))
    assert network(maps=False)(clips(1, 1))["expression"].shape == (1, 3)
