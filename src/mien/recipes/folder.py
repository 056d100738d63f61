"""Pictures of your own: start from the network that ships, and learn your classes.

mien train FOLDER --out RUN
"""

from __future__ import annotations

from mien.engine.recipe import Optim, Recipe, Schedule, Targets, Views, register

register(
    Recipe(
        name="folder",
        method="mobile_expression",
        protocol="folder",
        start="shipped",
        hold_statistics=True,
        epochs=12,
        batch_size=32,
        optim=Optim("adamw", lr=2e-4, weight_decay=0.05),
        schedule=Schedule("cosine", warmup_epochs=0.5),
        views=Views(degraded=0.3),
        targets=Targets(smoothing=0.05, balanced=True),
        ema=0.99,
        patience=5,
        source="set by us",
    )
)
