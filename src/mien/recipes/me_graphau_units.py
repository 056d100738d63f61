"""ME-GraphAU on BP4D, BP4D+ and DISFA, in two stages.

mien train me_graphau_r50_bp4d_stage1 --data BP4D --out RUN1 --fold 0
mien train me_graphau_r50_bp4d --data BP4D --out RUN2 --fold 0 --set start=RUN1

The authors start stage 1 from ImageNet: `load_trunk` of the method, stored as safetensors, and `--set start=FILE`.
"""

from __future__ import annotations

from dataclasses import replace

from mien.engine.recipe import Optim, Recipe, Schedule, Targets, Views, register

REPO = "authors' repository (from a description of it)"
SOURCES = {
    "epochs": REPO,
    "batch_size": REPO,
    "optim": REPO + ": AdamW, betas 0.9 and 0.999, weight decay 5e-4, no clipping named",
    "schedule": REPO + ": cosine to 0 over all steps, no warm-up",
    "views.mirror": REPO,
    "views.shift": REPO + ": a crop of 224 px out of 256",
    "views.degraded": "ours, in place of their colour jitter of 0.4",
    "targets.weighted": REPO + ": weights by the inverse of how often a unit is there, mean 1",
    "start": REPO + ": stage 1 from ImageNet, stage 2 from stage 1; to be given with --set start=",
}

STAGE1 = Recipe(
    name="me_graphau_r50_bp4d_stage1",
    method="me_graphau_r50_stage1",
    protocol="bp4d_12",
    epochs=20,
    batch_size=64,
    optim=Optim("adamw", lr=1e-4, weight_decay=5e-4, clip=None),
    schedule=Schedule("cosine", warmup_epochs=0, floor=0.0),
    views=Views(rotate_rad=0, zoom=0, shift=16 / 224, shear=0, degraded=0.3),
    targets=Targets(soft=False, weighted=True),
    source="Luo et al., IJCAI 2022, arXiv 2205.01782",
    sources=SOURCES,
)
STAGE2 = replace(
    STAGE1,
    name="me_graphau_r50_bp4d",
    method="me_graphau_r50",
    options={"edge_weight": 0.05},
    optim=Optim("adamw", lr=1e-5, weight_decay=5e-4, clip=None),
    sources={
        **SOURCES,
        "options": REPO + ": 0.05 for ResNet-50 on BP4D",
        "optim.lr": REPO + ": 1e-6 to 1e-5, which of them for which set is not known; the upper end here",
    },
)
SWIN = "me_graphau_swint_stage1"
ALIKE = "as for BP4D; the authors give no figures for BP4D+"
DEFAULT_WEIGHT = {**STAGE2.sources, "options": REPO + ": the default, 1e-3"}

register(
    STAGE1,
    STAGE2,
    replace(STAGE1, name="me_graphau_swint_bp4d_stage1", method=SWIN),
    replace(
        STAGE2,
        name="me_graphau_swint_bp4d",
        method="me_graphau_swint",
        options={"edge_weight": 1e-3},
        sources=DEFAULT_WEIGHT,
    ),
    replace(STAGE1, name="me_graphau_r50_disfa_stage1", protocol="disfa_8"),
    replace(
        STAGE2,
        name="me_graphau_r50_disfa",
        protocol="disfa_8",
        options={"edge_weight": 1e-3},
        sources=DEFAULT_WEIGHT,
    ),
    replace(STAGE1, name="me_graphau_swint_disfa_stage1", protocol="disfa_8", method=SWIN),
    replace(
        STAGE2,
        name="me_graphau_swint_disfa",
        method="me_graphau_swint",
        protocol="disfa_8",
        options={"edge_weight": 0.01},
        sources={**STAGE2.sources, "options": REPO + ": 0.01 for Swin on DISFA"},
    ),
    replace(
        STAGE1,
        name="me_graphau_r50_bp4d_plus_stage1",
        protocol="bp4d_plus_12",
        sources={**SOURCES, "protocol": ALIKE},
    ),
    replace(
        STAGE2,
        name="me_graphau_r50_bp4d_plus",
        protocol="bp4d_plus_12",
        options={"edge_weight": 1e-3},
        sources={**DEFAULT_WEIGHT, "protocol": ALIKE},
    ),
)
