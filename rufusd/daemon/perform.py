"""The one loop between what decides and what acts."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any


def perform(effects: Generator[Any, Any, None], handlers: Mapping[type, Callable[[Any], Any]]) -> None:
    """Have each effect's handler perform it at once, and send back what came of it before the next effect is asked for.

    What an effect raises goes to the caller, not into what decides.
    """
    result = None
    while True:
        try:
            effect = effects.send(result)
        except StopIteration:
            return
        result = handlers[type(effect)](effect)
