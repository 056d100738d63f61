"""Every method on FER+ with one small budget, so that they can be compared on two cores.

The budget is of multiply-accumulates, forward, one view: what a network does not spend on a face it spends on more
faces. All start from nothing and learn in one way, set by us, so the comparison is of networks, not of recipes, but
for what belongs to a method's own loss: HSEmotion's smooths its labels by 0.1. SAM takes two passes a step, so a row
with it spends twice the budget. Transformers and large networks suffer most. Their own recipes stand in the other files.
"""

from __future__ import annotations

import math
from dataclasses import replace

from mien.engine.recipe import Optim, Recipe, Schedule, Targets, Views, register

BUDGET_MACS = 2e13
BATCH = 64
PASS = 443
"""Whole batches in one pass over the training pictures."""
LEAST = 0.97
"""Share of the budget that is spent at least: so many passes there are, each of at most `PASS` batches."""


def budgeted(method: str, macs: float, size_px: int | None = None, **options: object) -> Recipe:
    """The recipe of one method.

    Args:
        method: registry name.
        macs: of one face at that size, forward.
        size_px: side of the crops, where it is not the method's own.
        **options: of the builder.
    """
    batches = max(1, round(BUDGET_MACS / macs / BATCH))
    epochs = max(1, math.ceil(LEAST * batches / PASS))
    return Recipe(
        name=f"{method}_ferplus_budget",
        method=method,
        protocol="ferplus_majority_8",
        options=options,
        size_px=size_px,
        epochs=epochs,
        steps=min(PASS, round(batches / epochs)),
        batch_size=BATCH,
        optim=Optim("adamw", lr=5e-4, weight_decay=0.05),
        schedule=Schedule("cosine", warmup_epochs=0.3),
        views=Views(degraded=0.0),
        targets=Targets(soft=True),
        ema=0.99,
        precision="bfloat16",
        source="set by us: 2e13 multiply-accumulates, forward",
    )


register(
    budgeted("fer2013_vgg", 0.351e9, train_crops=1),
    budgeted("se_swint_112", 1.179e9),
    budgeted("vtff_base", 1.466e9, size_px=112),
    budgeted("poster_pp", 8.59e9),
    budgeted("hsemotion_b0", 0.126e9, size_px=128, mtl=False),
    budgeted("hsemotion_mbf", 0.438e9, mtl=False),
    budgeted("hsemotion_mobilevit", 0.456e9, size_px=128, mtl=False),
    budgeted("ddamfn", 0.540e9),
    budgeted("gimefive", 0.313e9),
    budgeted("multitask_cnn", 0.143e9),
    budgeted("mobile_expression", 0.187e9),
    # At its own width the budget ends before gate and SAM can matter; this one sees seven passes.
    replace(
        budgeted("se_swint_112", 0.098e9, dim=32, depths=[2, 2, 2, 2], drop_path=0.1),
        name="se_swint_narrow_ferplus_budget",
    ),
)
