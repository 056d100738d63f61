"""GiMeFive and the multi-task network on RAF-DB."""

from __future__ import annotations

from dataclasses import replace

from mien.engine.recipe import Optim, Recipe, Schedule, Targets, Views, register

REPO = "authors' repository and report"

MULTITASK = Recipe(
    name="multitask_cnn_rafdb",
    method="multitask_cnn",
    protocol="rafdb_basic",
    epochs=60,
    batch_size=64,
    optim=Optim("adamw", lr=1e-3, weight_decay=0.01),
    schedule=Schedule("cosine", warmup_epochs=1),
    targets=Targets(soft=False),
    source="Saroop et al. 2021, arXiv 2110.15028; the learning figures were not found and are ours",
    sources={
        "protocol": "gender, age and race are learned where RAF-DB's manual annotations lie beside the pictures"
    },
)

register(
    Recipe(
        name="gimefive_rafdb",
        method="gimefive",
        protocol="rafdb_basic",
        epochs=80,
        batch_size=16,
        patience=15,
        optim=Optim("sgd", lr=1e-3, weight_decay=1e-4, momentum=0.9, clip=None),
        schedule=Schedule("constant", warmup_epochs=0),
        views=Views(rotate_rad=0, zoom=0, shift=0, shear=0),
        targets=Targets(soft=False),
        source="Wang and Kawka 2024, arXiv 2402.15662, and the authors' repository",
        sources={
            "epochs": REPO,
            "batch_size": REPO,
            "patience": REPO,
            "optim": REPO,
            "views": REPO + ": mirror alone",
            "protocol": "the authors leave neutral out (six classes); here all seven",
        },
    ),
    MULTITASK,
    replace(MULTITASK, name="multitask_cnn_multilabel_rafdb", method="multitask_cnn_multilabel"),
)
