"""mien's light network for action units, from the network that ships, on sets of your own licence."""

from __future__ import annotations

from dataclasses import replace

from mien.engine.recipe import Optim, Recipe, Schedule, Targets, Views, register

CKPLUS = Recipe(
    name="mobile_units_ckplus48",
    method="mobile_units",
    protocol="ckplus48_au",
    start="shipped",
    hold_statistics=True,
    epochs=20,
    batch_size=32,
    optim=Optim("adamw", lr=2e-4, weight_decay=0.05),
    schedule=Schedule("cosine", warmup_epochs=0.5),
    views=Views(degraded=0.3),
    targets=Targets(soft=False),
    ema=0.99,
    source="set by us",
)
LARGE = replace(CKPLUS, epochs=5, batch_size=64, ema=0.998)

register(
    CKPLUS,
    replace(LARGE, name="mobile_units_bp4d", protocol="bp4d_12"),
    replace(LARGE, name="mobile_units_bp4d_plus", protocol="bp4d_plus_12"),
    replace(LARGE, name="mobile_units_disfa", protocol="disfa_8"),
)
