"""fer2013_vgg on FER+, from a network that was trained on FER2013 (the same pictures, worse labels) or from nothing."""

from __future__ import annotations

from dataclasses import replace

from mien.engine.recipe import Optim, Recipe, Schedule, Targets, Views, register
from mien.recipes.fer2013_vgg_fer2013 import SHORT

register(
    Recipe(
        name="fer2013_vgg_ferplus",
        method="fer2013_vgg",
        protocol="ferplus_majority_8",
        options={"train_crops": 1, "dropout": 0.3},
        epochs=24,
        batch_size=64,
        optim=Optim("adamw", lr=3e-4, weight_decay=0.05),
        schedule=Schedule("cosine", warmup_epochs=0.3),
        views=Views(degraded=0.0, erase=0.3, mixup=0.2),
        targets=Targets(soft=True),
        ema=0.999,
        precision="bfloat16",
        select_every=2,
        source="set by us; to be begun with --set start=RUN, a run of fer2013_vgg_fer2013_short",
    )
)

register(
    replace(
        SHORT,
        name="fer2013_vgg_ferplus_fresh",
        protocol="ferplus_majority_8",
        epochs=32,
        views=replace(SHORT.views, mixup=0.2),
        targets=Targets(soft=True),
        source="set by us, for about two hours of one core: as fer2013_vgg_fer2013_short, with FER+'s votes",
    )
)
