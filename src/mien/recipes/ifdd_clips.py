"""IFDD on the three sets of clips of its paper."""

from __future__ import annotations

from dataclasses import replace

from mien.engine.recipe import Optim, Recipe, Schedule, Targets, Views, register

REPO = "authors' repository"

DFEW = Recipe(
    name="ifdd_dfew",
    method="ifdd",
    protocol="dfew_7",
    epochs=100,
    batch_size=16,
    seed=12345,
    optim=Optim("adamw", lr=5e-5, weight_decay=1e-3, clip=None),
    schedule=Schedule("cosine", warmup_epochs=10, floor=0.01),
    views=Views(rotate_rad=0.2, zoom=0.3, shift=0.1, shear=0.1, degraded=0.3, mixup=0.8),
    targets=Targets(soft=False, smoothing=0.1),
    precision="bfloat16",
    source="arXiv 2412.13168 and the authors' repository",
    sources={
        "epochs": REPO,
        "batch_size": REPO,
        "seed": REPO,
        "optim": REPO + ": 1e-4 times batch over 32",
        "schedule": REPO + "; its jump at the end of the warm-up is left out",
        "views.zoom": REPO + ": crops of half to the whole face",
        "views.mixup": REPO,
        "targets.smoothing": REPO,
        "start": "the authors start from MViTv2-S on Kinetics-400; see `load_kinetics`",
    },
)

register(
    DFEW,
    replace(DFEW, name="ifdd_ferv39k", protocol="ferv39k_7"),
    replace(DFEW, name="ifdd_mafw", protocol="mafw_11", frames=32),
)
