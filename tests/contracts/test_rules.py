"""Every registered training rule on every registered method, automatically."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from torch import nn  # noqa: E402

from mien.engine.recipe import RECIPES  # noqa: E402
from mien.methods.method import METHODS, Method, create  # noqa: E402
from mien.methods.rule import RULES, Rule  # noqa: E402
from mien.methods.task import Batch, UnitsTask  # noqa: E402

CUTS_CROPS = {"fer2013_vgg"}
"""Networks that cut pictures into crops have no one map a picture for a rule that looks into layers."""
LARGE = {
    "htnet",
    "mpfnet_p",
    "mpfnet_c",
    "poster_pp",
    "vtff_base",
    "vtff_large",
    "se_swint",
    "hsemotion_b0",
    "hsemotion_mobilevit",
}


@pytest.fixture(params=list(RULES))
def rule(request: pytest.FixtureRequest) -> Rule:
    return RULES[request.param]


def test_facts_are_whole(rule: Rule) -> None:
    assert rule.paper.title and rule.paper.authors and rule.paper.source
    assert rule.wrap.__doc__


def test_a_recipe_uses_it(rule: Rule) -> None:
    assert any(RECIPES[name].rule == rule.name for name in RECIPES)


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(METHODS[name], id=name, marks=[pytest.mark.huge] if name in LARGE else [])
        for name in METHODS
        if name not in CUTS_CROPS
        and not issubclass(METHODS[name].task, UnitsTask)
        and len(METHODS[name].preprocess.shape) == 3
    ],
)
def test_it_wraps_any_task(rule: Rule, method: Method) -> None:
    """Without what it needs it changes nothing; with it, the loss changes; every parameter gets a gradient."""
    torch.manual_seed(0)
    network = create(method.name, **method.quick_options).eval()
    plain = method.task(network)
    wrapped = rule.wrap(plain)
    size, channels, count = method.preprocess.size_px, len(method.preprocess.mean), 2
    images = torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(0))
    targets = nn.functional.one_hot(torch.arange(count), len(method.labels)).float()
    bare = plain.loss(Batch(images, targets))
    assert wrapped.loss(Batch(images, targets)).item() == pytest.approx(bare.item(), rel=1e-5)
    assert rule.needs == "au_cue", "say here how the extra of a new rule is made"
    cues = torch.rand(count, size, size, generator=torch.Generator().manual_seed(1))
    loss = wrapped.loss(Batch(images, targets, {"au_cue": cues}))
    loss.backward()
    assert torch.isfinite(loss)
    assert abs(loss.item() - bare.item()) > 0.01
    assert any(one.grad is not None and float(one.grad.abs().sum()) > 0 for one in network.parameters())
    with torch.no_grad():
        assert torch.equal(wrapped.logits(images), plain.logits(images))
    assert not any(module._forward_hooks for module in network.modules())
