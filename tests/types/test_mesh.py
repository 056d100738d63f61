from __future__ import annotations

import numpy as np
import pytest

from mien.errors import LabelError, ShapeError
from mien.types.mesh import BLENDSHAPES, MESH_POINTS, Mesh


def parts(count: int) -> list[np.ndarray]:
    return [np.zeros((count, *rest)) for rest in ((MESH_POINTS, 3), (), (52,), (3,), (3,))]


def test_names_have_two_sides_or_none() -> None:
    assert len(BLENDSHAPES) == len(set(BLENDSHAPES)) == 52
    left = {name.removesuffix("Left") for name in BLENDSHAPES if name.endswith("Left")}
    assert left == {name.removesuffix("Right") for name in BLENDSHAPES if name.endswith("Right")}


def test_a_column_by_name_and_which_faces_were_told() -> None:
    arrays = parts(2)
    arrays[2][1, BLENDSHAPES.index("jawOpen")] = 0.5
    mesh = Mesh(*arrays, ("too small", ""))
    assert (len(mesh), mesh["jawOpen"].tolist(), mesh.told.tolist()) == (2, [0, 0.5], [False, True])
    with pytest.raises(LabelError, match="no blendshape 'jawopen'"):
        mesh["jawopen"]


@pytest.mark.parametrize("wrong", range(5))
def test_arrays_that_do_not_fit_are_refused(wrong: int) -> None:
    arrays = parts(2)
    arrays[wrong] = arrays[wrong][:1]
    with pytest.raises(ShapeError, match="for 2 faces"):
        Mesh(*arrays, ("", ""))
