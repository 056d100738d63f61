"""How many may be at work at once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from mien.serve.metrics import Metrics
from mien.serve.refusals import Refusal


class Gate:
    """Lets so many in, and refuses the next at once instead of letting it wait: who waits in line holds memory.

    Args:
        most: how many.
        what: they do, as the metrics call it.
        metrics: where they are counted.
    """

    def __init__(self, most: int, what: str, metrics: Metrics) -> None:
        self.most, self.what, self.count = most, what, 0
        self._gauge = metrics.open.labels(what)

    def take(self) -> Callable[[], None]:
        """One place; call what is returned, once or more, to give it back.

        Raises:
            Refusal: all are taken.
        """
        if self.count >= self.most:
            raise Refusal(
                "too_many_requests",
                f"expected at most {self.most} {self.what} at once (concurrency), got one more. Try again in a moment.",
            )
        self.count += 1
        self._gauge.inc()
        places = [1]

        def leave() -> None:
            for _ in range(len(places)):
                places.pop()
                self.count -= 1
                self._gauge.dec()

        return leave

    @contextlib.contextmanager
    def enter(self) -> Iterator[None]:
        """One place for a while; `Refusal` if all are taken."""
        leave = self.take()
        try:
            yield
        finally:
            leave()
