"""S4D on the three sets of clips of its paper, from clips alone."""

from __future__ import annotations

from dataclasses import replace

from mien.engine.recipe import Optim, Recipe, Schedule, Targets, Views, register

REPO = "authors' repository, fine-tuning script"

DFEW = Recipe(
    name="s4d_base_dfew",
    method="s4d_base",
    protocol="dfew_7",
    epochs=100,
    batch_size=16,
    optim=Optim("adamw", lr=2e-5, weight_decay=0.05, layer_decay=0.75, clip=None),
    schedule=Schedule("cosine", warmup_epochs=5),
    views=Views(rotate_rad=0.2, zoom=0.13, shift=0.05, degraded=0.3, erase=0.25, mixup=0.8),
    targets=Targets(soft=False, smoothing=0.1),
    precision="bfloat16",
    source="Chen et al. 2025, arXiv 2409.06154, and the authors' repository",
    sources={
        "epochs": REPO,
        "batch_size": REPO,
        "optim": REPO + ": 1e-5 times batch over 8",
        "schedule": REPO,
        "views.erase": REPO,
        "views.mixup": REPO + ", there by turns with cutmix",
        "targets.smoothing": REPO,
        "start": "the authors start from a masked autoencoder of faces, which is not to be had here",
    },
)

register(
    DFEW,
    replace(DFEW, name="s4d_base_ferv39k", protocol="ferv39k_7"),
    replace(DFEW, name="s4d_base_mafw", protocol="mafw_11"),
)
