"""The LSTM on blendshapes: as published on FER2013's faces, and over the frames of DFEW's clips."""

from __future__ import annotations

from dataclasses import replace

from mien.engine.recipe import Optim, Recipe, Schedule, Targets, Views, register

REPO = "authors' notebook"

FACES = Recipe(
    name="lstm_blendshapes_fer2013",
    method="lstm_blendshapes",
    protocol="fer2013_7",
    epochs=400,
    batch_size=150,
    patience=50,
    optim=Optim("adamw", lr=5.676e-5, weight_decay=5.47e-5, clip=1.0),
    schedule=Schedule("constant", warmup_epochs=0),
    views=Views(mirror=True),
    targets=Targets(soft=False),
    source="arXiv 2501.13432 and the authors' notebook",
    sources={
        "batch_size": REPO,
        "epochs": REPO + " has 4000, and stops after 500 without a better training loss",
        "optim": REPO + "; without amsgrad",
        "protocol": "seven classes; the paper has three",
    },
)

register(
    FACES,
    replace(FACES, name="lstm_blendshapes_dfew", method="lstm_blendshapes_clip", protocol="dfew_7"),
)
