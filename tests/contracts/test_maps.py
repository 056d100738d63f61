"""Every registered map on every registered method, automatically."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from torch import Tensor, nn  # noqa: E402

from mien.errors import OptionError  # noqa: E402
from mien.explain.faithfulness import randomised  # noqa: E402
from mien.explain.maps import MAPS  # noqa: E402
from mien.methods.method import METHODS, Method, create  # noqa: E402

QUICK = {
    "rise": {"masks": 4, "cells": 3},
    "integrated_gradients": {"steps": 2},
}
"""Options that make a map rough and quick; here only its form is looked at."""
SINGLE_CROP = {"fer2013_vgg": 40}
"""Networks that cut each picture into crops are explained on single ones."""
AVERAGED = {
    "hsemotion_b0",
    "hsemotion_mobilevit",
    "mobile_expression",
    "multitask_cnn",
    "multitask_cnn_multilabel",
    "mobile_units",
    "se_swint",
    "se_swint_112",
}
"""Networks that end in an average and one linear layer, as the classic class activation map needs."""
LARGE = {
    "htnet",
    "mpfnet_p",
    "mpfnet_c",
    "fmae_iat_b",
    "fmae_iat_l",
    "fmae_iat_s",
    "me_graphau_r50",
    "me_graphau_swint",
    "poster_pp",
    "vtff_base",
    "vtff_large",
    "se_swint",
    "hsemotion_b0",
    "hsemotion_mobilevit",
}


def test_the_eight_maps_are_there() -> None:
    assert set(MAPS) == {
        "cam", "grad_cam", "grad_cam_pp", "layer_cam", "eigen_cam", "integrated_gradients", "occlusion", "rise",
    }  # fmt: skip


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=[pytest.mark.huge] if name in LARGE else [])
        for name in METHODS
        if len(METHODS[name].preprocess.shape) == 3  # maps are of single pictures
    ],
)
def method(request: pytest.FixtureRequest) -> Method:
    return METHODS[request.param]


@pytest.fixture(scope="module")
def network(method: Method) -> nn.Module:
    """Random weights, with batch norms of the pictures' statistics: else little comes through a deep network."""
    size = SINGLE_CROP.get(method.name, method.preprocess.size_px)
    task = method.task(create(method.name, **method.quick_options).eval())
    return randomised(task, faces(method, size, 2)).network


def faces(method: Method, size: int, count: int) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randn(count, len(method.preprocess.mean), size, size, generator=random)


@pytest.fixture(scope="module")
def images(method: Method) -> Tensor:
    return faces(method, SINGLE_CROP.get(method.name, method.preprocess.size_px), 1)


@pytest.mark.parametrize("name", list(MAPS))
def test_it_runs_and_repeats(name: str, method: Method, network: nn.Module, images: Tensor) -> None:
    task, options = method.task(network), QUICK.get(name, {})
    if name == "occlusion":
        options = {"patch": images.shape[2] // 2, "stride": images.shape[2] // 2}
    if name == "cam" and method.name not in AVERAGED:
        with pytest.raises(OptionError, match="has no `cam_layer`"):
            MAPS[name](task, images)
        return
    first = MAPS[name](task, images, torch.tensor([1]), **options)
    assert first.shape == (1, *images.shape[2:])
    assert first.dtype == torch.float32
    assert first.min() >= 0
    assert first.max() <= 1
    assert torch.equal(first, MAPS[name](task, images, torch.tensor([1]), **options))
    told = float(first.max()) > 0.1
    for other in range(2, len(method.labels)):  # until a class has a map that says something, and another one
        again = MAPS[name](task, images, torch.tensor([other]), **options)
        told, differs = told or float(again.max()) > 0.1, not torch.equal(first, again)
        if told and (differs or name == "eigen_cam"):  # which knows no class
            break
    else:
        pytest.fail("no class has a map that differs from another's and says something")
    assert not any(module._forward_hooks for module in network.modules())
    assert not network.training
