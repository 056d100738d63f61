from __future__ import annotations

import numpy as np
import pytest

from mien.errors import LabelError, ShapeError
from mien.types.affect import Affect

VALUES = np.array([0.5, np.nan], np.float32)


def test_unknown_stays_nan():
    affect = Affect(VALUES, -VALUES, "measured", "a network")
    assert len(affect) == 2
    assert np.isnan(affect.valence[1])


@pytest.mark.parametrize(
    ("valence", "kind", "error"),
    [
        (VALUES[:1], "derived", ShapeError),
        (4 * VALUES, "derived", ShapeError),
        (VALUES, "guessed", LabelError),
    ],
)
def test_what_does_not_fit_is_refused(valence, kind, error):
    with pytest.raises(error, match="expected"):
        Affect(valence, VALUES, kind, "a network")
