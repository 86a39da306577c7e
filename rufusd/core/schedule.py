"""The deliveries under way, and which of them is next. Pure; it takes no longer to ask where thousands are pending."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from rufusd.core.delivery import Delivery, Step


class Schedule:
    """Deliveries by token. A close that is due goes before all else, on the look that has found it quiet."""

    def __init__(self) -> None:
        """Empty."""
        self.deliveries: dict[str, Delivery] = {}
        # When each is due: first those whose next step is to read, then those whose next step is to close. An entry
        # that its delivery does not agree with any more is left there until it comes up.
        self._queues: tuple[list[tuple[float, str]], list[tuple[float, str]]] = ([], [])

    def put(self, delivery: Delivery) -> None:
        """Add a delivery, or replace the one of its token."""
        self.deliveries[delivery.token] = delivery
        heappush(self._queues[delivery.step is Step.CLOSE], (delivery.due, delivery.token))

    def drop(self, token: str) -> None:
        """Take a delivery out, if it is there."""
        self.deliveries.pop(token, None)

    def turn(self, turned: Callable[..., Delivery], *arguments: object) -> None:
        """Replace each delivery by what `turned` makes of it and of these arguments."""
        self._queues = [], []
        for each in self.deliveries.values():
            self.put(turned(each, *arguments))

    def next(self, now: float) -> Delivery | None:
        """The delivery to go on with, due or not; None where there is none."""
        reading, closing = self._first(closing=False), self._first(closing=True)
        if reading is None or (closing and closing.due <= max(now, reading.due)):
            return closing
        return reading

    def _first(self, *, closing: bool) -> Delivery | None:
        queue = self._queues[closing]
        while queue:
            due, token = queue[0]
            found = self.deliveries.get(token)
            if found and found.due == due and (found.step is Step.CLOSE) == closing:
                return found
            heappop(queue)
        return None
