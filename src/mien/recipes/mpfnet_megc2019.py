"""MPFNet on the composite of MEGC 2019, in three stages, each from the one before.

mien train mpfnet_gfe_megc2019 --data MAPS --out RUN1 --fold 0
mien train mpfnet_afe_megc2019 --data MAGNIFIED_MAPS --out RUN2 --fold 0 --set start=RUN1
mien train mpfnet_p_megc2019 --data MAPS --out RUN3 --fold 0 --set start=RUN2

The cascade's second encoder has other inputs: `mpfnet_c_megc2019` starts from a run of stage afe with `method=mpfnet_c`.
MAPS is made by `python -m mien.recipes.motion_maps megc2019 --data ROOT --out MAPS --steps 10 --size 128`.
"""

from __future__ import annotations

from dataclasses import replace

from mien.engine.recipe import Optim, Recipe, Schedule, Targets, Views, register

REPO = "authors' repository (from a description of it)"
STILL = Views(mirror=False, rotate_rad=0, zoom=0, shift=0, shear=0)
SOURCES = {"epochs": REPO, "batch_size": REPO, "optim": REPO, "views": "none named"}

GFE = Recipe(
    name="mpfnet_gfe_megc2019",
    method="mpfnet_p",
    protocol="megc2019_maps_3",
    options={"stage": "gfe"},
    epochs=60,
    batch_size=128,
    optim=Optim("sgd", lr=0.01, momentum=0.9, weight_decay=5e-4, clip=None),
    schedule=Schedule("constant", warmup_epochs=0),
    views=STILL,
    targets=Targets(soft=False),
    source="Ma and others, arXiv 2506.09735",
    sources=SOURCES,
)
AFE = replace(
    GFE,
    name="mpfnet_afe_megc2019",
    options={"stage": "afe"},
    epochs=80,
    batch_size=32,
    optim=Optim("sgd", lr=1e-3, momentum=0.9, weight_decay=5e-4, clip=None),
    schedule=Schedule("step", warmup_epochs=0, gamma=0.1, every=10),
    sources={**SOURCES, "schedule": REPO + ": a tenth every 10 epochs"},
)
BOTH = replace(
    GFE,
    name="mpfnet_p_megc2019",
    options={},
    batch_size=18,
    optim=Optim("sgd", lr=0.05, momentum=0.9, weight_decay=0, clip=None),
    targets=Targets(soft=False, balanced=True),
    sources={
        "batch_size": REPO + ": 3-way, 5 shots and 1 query; classes are drawn equally often",
        "optim": REPO,
        "epochs": "not known; ours",
    },
)
register(GFE, AFE, BOTH, replace(BOTH, name="mpfnet_c_megc2019", method="mpfnet_c"))
