"""FineCLIPER on DFEW, FERV39k and MAFW: frames and sentences; the engine makes no pictures of parts and points.

It starts from CLIP ViT-B/16, which is not to be had here; store the towers' tensors as safetensors first:

mien train finecliper_frames_dfew --data DFEW --out RUN --fold 0 --set start=CLIP.safetensors

(docs/methods/finecliper.md says how.) The figures are from memory or ours: only the abstract was seen.
"""

from __future__ import annotations

from dataclasses import replace

from mien.datasets.protocol import load_protocol
from mien.engine.recipe import Optim, Recipe, Schedule, Targets, Views, register

DFEW = Recipe(
    name="finecliper_frames_dfew",
    method="finecliper_frames",
    protocol="dfew_7",
    options={"prompts": list(load_protocol("dfew_7").labels)},
    epochs=30,
    batch_size=16,
    optim=Optim("adamw", lr=1e-4, weight_decay=0.05),
    schedule=Schedule("cosine", warmup_epochs=1),
    views=Views(rotate_rad=0.07, zoom=0.0, shift=0.0, shear=0.0),
    targets=Targets(soft=False),
    source="Chen et al., ACM MM 2024, arXiv 2407.02157",
    sources={
        "options": "the protocol's classes; the sentences are ours",
        "epochs": "from memory",
        "batch_size": "from memory: 16 to 64",
        "optim.lr": "from memory: 1e-4 to 3e-4 with AdamW",
        "views": "those of DFER-CLIP",
        "start": "CLIP ViT-B/16 of OpenAI, to be given with --set start=",
    },
)

register(
    DFEW,
    replace(
        DFEW,
        name="finecliper_frames_ferv39k",
        protocol="ferv39k_7",
        options={"prompts": list(load_protocol("ferv39k_7").labels)},
    ),
    replace(
        DFEW,
        name="finecliper_frames_mafw",
        protocol="mafw_11",
        options={"prompts": list(load_protocol("mafw_11").labels)},
    ),
)
