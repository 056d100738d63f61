from __future__ import annotations

import numpy as np
import pytest

from mien.errors import LabelError, ShapeError
from mien.types.units import ActionUnits

VALUES = np.array([[0.0, 5.0], [np.nan, 2.5]], np.float32)


def test_columns_come_by_number_and_unknown_stays_nan():
    units = ActionUnits((4, 12), VALUES, "intensity", "mesh", left=VALUES, right=VALUES)
    assert len(units) == 2
    assert units[12].tolist() == [5.0, 2.5]
    assert np.isnan(units[4][1])
    with pytest.raises(LabelError, match="no AU6 among AU4, AU12"):
        units[6]


@pytest.mark.parametrize(
    ("units", "values", "scale", "error"),
    [
        ((), VALUES[:, :0], "intensity", LabelError),
        ((4, 4), VALUES, "intensity", LabelError),
        ((4, 12), VALUES, "percent", LabelError),
        ((4, 12), VALUES, "probability", ShapeError),
        ((4, 12), -VALUES, "intensity", ShapeError),
        ((4,), VALUES, "intensity", ShapeError),
    ],
)
def test_what_does_not_fit_is_refused(units, values, scale, error):
    with pytest.raises(error, match="expected"):
        ActionUnits(units, values, scale, "mesh")
