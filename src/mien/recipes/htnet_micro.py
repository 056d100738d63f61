"""HTNet on its flow pictures, as published and at a budget for two cores.

    python -m mien.recipes.micro_loso htnet_narrow_htnet_micro --data DIR --out DIR

runs all folds. `mien train htnet_htnet_micro --data DIR --out RUN --fold 0` trains the network of one fold to keep.
"""

from __future__ import annotations

from dataclasses import replace

from mien.engine.recipe import Optim, Recipe, Schedule, Targets, Views, register

REPO = "authors' repository (from a description of it)"
SOURCES = {
    "epochs": REPO,
    "batch_size": REPO,
    "optim": REPO + ": Adam, no decay, no clipping",
    "schedule": REPO + ": constant",
    "views": REPO + ": none",
    "keep": "ours: the authors keep the best epoch on the person who is left out",
}
STILL = Views(mirror=False, rotate_rad=0, zoom=0, shift=0, shear=0)

FULL = Recipe(
    name="htnet_htnet_micro",
    method="htnet",
    protocol="htnet_micro_3",
    epochs=800,
    batch_size=256,
    optim=Optim("adam", lr=5e-5, weight_decay=0, clip=None),
    schedule=Schedule("constant", warmup_epochs=0),
    views=STILL,
    targets=Targets(soft=False),
    keep="last",
    source="Wang et al., Neurocomputing 2024, arXiv 2307.14637",
    sources=SOURCES,
)
register(
    FULL,
    replace(
        FULL,
        name="htnet_narrow_htnet_micro",
        method="htnet_narrow",
        epochs=20,
        batch_size=64,
        optim=Optim("adam", lr=1e-3, weight_decay=0, clip=5.0),
        schedule=Schedule("cosine", warmup_epochs=1),
        sources={
            **{name: SOURCES[name] for name in ("views", "keep")},
            "epochs": "ours: a budget of minutes, set before anything was measured",
        },
    ),
    replace(
        FULL,
        name="htnet_htnet_micro_inner",
        keep="best",
        select_every=20,
        sources={**SOURCES, "keep": "ours: the best epoch on a tenth of the other people"},
    ),
)
