"""CLIP-CAER's face alone, which is DFER-CLIP, on DFEW, FERV39k and MAFW.

It starts from CLIP ViT-B/32, which is not to be had here; store the towers' tensors as safetensors first:

mien train clip_caer_face_dfew --data DFEW --out RUN --fold 0 --set start=CLIP.safetensors

(docs/methods/clip_caer.md says how.) CLIP-CAER's own set, RAER, is not in mien, and the engine makes no context.
"""

from __future__ import annotations

from dataclasses import replace

from mien.datasets.protocol import load_protocol
from mien.engine.recipe import Optim, Recipe, Schedule, Targets, Views, register

REPO = "DFER-CLIP's repository (train_DFEW.sh)"

DFEW = Recipe(
    name="clip_caer_face_dfew",
    method="clip_caer_face",
    protocol="dfew_7",
    options={"prompts": list(load_protocol("dfew_7").labels)},
    epochs=50,
    batch_size=48,
    optim=Optim(
        "sgd", lr=1e-2, weight_decay=1e-4, momentum=0.9, clip=None, scales={"vision.": 1e-3, "prompts.": 0.1}
    ),
    schedule=Schedule("step", warmup_epochs=0, gamma=0.1, every=30),
    views=Views(rotate_rad=0.07, zoom=0.0, shift=0.0, shear=0.0),
    targets=Targets(soft=False),
    source="Zhao and Patras, BMVC 2023, arXiv 2308.13382",
    sources={
        "options": "the protocol's classes; the sentences are ours",
        "epochs": REPO,
        "batch_size": REPO,
        "optim": REPO + ": 1e-2 for the temporal net, 1e-5 for the vision tower, 1e-3 for the prompts",
        "schedule": REPO + ": a tenth at epochs 30 and 40, here at 30 alone",
        "views": "rotation by 4 degrees and mirroring, from CLIP-CAER's repository",
        "start": "CLIP ViT-B/32 of OpenAI, to be given with --set start=",
    },
)

register(
    DFEW,
    replace(
        DFEW,
        name="clip_caer_face_ferv39k",
        protocol="ferv39k_7",
        options={"prompts": list(load_protocol("ferv39k_7").labels)},
    ),
    replace(
        DFEW,
        name="clip_caer_face_mafw",
        protocol="mafw_11",
        options={"prompts": list(load_protocol("mafw_11").labels)},
    ),
)
