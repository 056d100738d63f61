"""fer2013_vgg on FER2013, as its authors train it, with the split that selects put right."""

from __future__ import annotations

from dataclasses import replace

from mien.engine.recipe import Optim, Recipe, Schedule, Targets, Views, register

REPO = "authors' repository, train.py"

PUBLISHED = Recipe(
    name="fer2013_vgg_fer2013",
    method="fer2013_vgg",
    protocol="fer2013_7",
    epochs=300,
    batch_size=64,
    optim=Optim("sgd", lr=0.01, weight_decay=1e-4, momentum=0.9, nesterov=True, clip=None),
    schedule=Schedule("plateau", warmup_epochs=0, gamma=0.75, patience=5),
    views=Views(rotate_rad=0.175, zoom=0.2, shift=0.1, shear=0.0, erase=0.5),
    targets=Targets(soft=False),
    precision="bfloat16",
    source="Khaireddin and Chen 2021, arXiv 2105.03588, section 3, and the authors' repository",
    sources={
        "epochs": REPO,
        "batch_size": REPO,
        "optim": REPO + "; theirs decays biases and norms too",
        "schedule": REPO,
        "views.rotate_rad": "repository: 10 degrees for half of the pictures; here uniform to 10 for all",
        "views.zoom": "repository: area 0.8 to 1.2 with aspect 3/4 to 4/3; here side 0.82 to 1.22, no aspect",
        "views.shift": "repository: 0.2 of the side for half of the pictures; here to 0.1 for all",
        "views.erase": "repository: half of the crops, to a third of each, black; here half of the pictures, to a fifth, grey",
        "precision": "repository: mixed",
    },
)

SHORT = replace(
    PUBLISHED,
    name="fer2013_vgg_fer2013_short",
    options={"train_crops": 1, "dropout": 0.3},
    epochs=48,
    optim=replace(PUBLISHED.optim, lr=0.02, weight_decay=5e-4, clip=5.0),
    schedule=Schedule("cosine", warmup_epochs=1),
    targets=Targets(soft=False, smoothing=0.1),
    ema=0.999,
    select_every=4,
    source="set by us, for about three hours on two cores: one random crop instead of ten, cosine",
    sources={},
)

register(PUBLISHED, SHORT)
