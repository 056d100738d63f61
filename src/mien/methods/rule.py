"""A method that is only a training rule: it wraps the task of any network, and leaves the network as it is.

A rule's file registers one function, which takes a task and gives another with the same network and the same logits:

    @register_rule(paper=..., needs="au_cue")
    def au_cue(task: Task, weight: float = 4.0) -> Task: ...

The function's name is the registry's name, and what a recipe says in its field `rule`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mien.methods.method import Paper, Reported
from mien.methods.task import Task
from mien.registry import Registry


@dataclass(frozen=True)
class Rule:
    """One registered rule.

    Attributes:
        name: as in recipes.
        wrap: (task, **options) -> task.
        paper: where it was published.
        needs: the extra of a batch that it learns from, which the engine then makes; `None` for none.
        reported: results of the authors.
        differs: each point in which it differs from the paper, in a sentence.
    """

    name: str
    wrap: Callable[..., Task]
    paper: Paper
    needs: str | None = None
    reported: tuple[Reported, ...] = ()
    differs: tuple[str, ...] = ()


RULES: Registry[Rule] = Registry("training rule", "mien.methods")


def register_rule(
    *,
    paper: Paper,
    needs: str | None = None,
    reported: tuple[Reported, ...] = (),
    differs: tuple[str, ...] = (),
) -> Callable[[Callable[..., Task]], Callable[..., Task]]:
    """Register a function that wraps a task, under its own name; arguments as the fields of `Rule`."""

    def add(wrap: Callable[..., Task]) -> Callable[..., Task]:
        RULES.add(wrap.__name__, Rule(wrap.__name__, wrap, paper, needs, reported, differs))
        return wrap

    return add
