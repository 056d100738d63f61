"""The shapes of the answers, for OpenAPI. Rows are made from the table's own columns, so that the two cannot drift apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from mien.pipeline.table import COLUMNS, Columns, columns_of

CLOSED = ConfigDict(extra="forbid")


def row_model(name: str, columns: Columns, always: Columns) -> type[BaseModel]:
    """The shape of a row: every column may be `null`; those of `always` are always there."""
    fields: dict[str, Any] = {
        column: (kind | None, ... if column in always else None) for column, kind in columns.items()
    }
    return create_model(name, __config__=CLOSED, **fields)


class Error(BaseModel):
    """What was refused."""

    model_config = CLOSED
    kind: str = Field(description="a word for programs; see the table of limits")
    message: str = Field(description="expected ..., got ..., and what to do")


class Refused(BaseModel):
    """Every answer that is not as asked."""

    model_config = CLOSED
    error: Error


class Model(BaseModel):
    """The network that gave the answers."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())
    name: str
    task: str
    sha256: str
    licence: str
    notice: str
    labels: list[str]
    threshold: float | None = Field(description="confidence under which an answer is uncertain")


class Models(BaseModel):
    """All networks that the service runs."""

    model_config = CLOSED
    models: list[Model]
    mesh: bool = Field(description="whether jobs can ask for the mesh and its action units")


class JobLinks(BaseModel):
    """Where to go on."""

    model_config = CLOSED
    self: str
    events: str
    result: str


class JobState(BaseModel):
    """A clip that is worked on, and what became of it."""

    model_config = CLOSED
    id: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    done_s: float = Field(description="seconds of the clip that were read")
    length_s: float | None = Field(description="as the clip's header tells; null before it was opened")
    frames: int
    faces: int
    error: Error | None
    links: JobLinks


class Health(BaseModel):
    """A word for load balancers."""

    model_config = CLOSED
    status: str


class Shapes:
    """The shapes that depend on the network's classes.

    Attributes:
        row: of a face in a picture.
        job_row: of a row of a clip, with all columns that its options can add.
        analysis: the answer to pictures.
        live: the answer to one frame of a live socket.
    """

    def __init__(self, labels: tuple[str, ...]) -> None:
        plain = columns_of(labels)
        self.columns = plain
        self.row = row_model("Row", plain, COLUMNS)
        widest = columns_of(labels, mesh=True, smooth=True, baseline=True)
        self.job_row = row_model("JobRow", widest, COLUMNS)
        faces: Any = (list[self.row], ...)  # type: ignore[name-defined]
        size: Any = (int | None, Field(description="pixels, upright; null where there is an error"))
        picture = create_model(
            "Picture", __config__=CLOSED,
            name=(str, Field(description="the client's own name, without folders")),
            width=size, height=size, faces=faces, error=(Error | None, ...),
        )  # fmt: skip
        used = create_model(
            "UsedModel", __config__=CLOSED,
            name=(str, ...), sha256=(str, ...), labels=(list[str], ...), threshold=(float, ...),
        )  # fmt: skip
        self.analysis = create_model(
            "Analysis",
            __config__=CLOSED,
            model=(used, ...),
            results=(list[picture], ...),  # type: ignore[valid-type]
        )
        self.live = create_model(
            "LiveFrame",
            __config__=CLOSED,
            width=(int, ...),
            height=(int, ...),
            faces=faces,
            ms=(float, ...),
        )


def refusals_of(statuses: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route for OpenAPI: status -> when."""
    return {status: {"model": Refused, "description": when} for status, when in statuses.items()}
