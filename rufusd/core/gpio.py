"""What the kernel tells of the header's GPIO chip and of its lines: facts, no more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class GpioLine:
    """A GPIO line as the kernel tells it. `consumer` is what its user calls itself; `pid` is 0 where nobody tells."""

    used: bool
    consumer: str = ""
    pull: str = ""  # up, down or none, while it is used; empty where the kernel does not say
    pid: int = 0
    program: str = ""


@dataclass(frozen=True)
class GpioChip:
    """The header's GPIO chip. `error` is the errno with which the kernel refuses it, else 0."""

    path: str
    model: str = ""  # of the Pi
    label: str = ""
    lines: Mapping[int, GpioLine] = field(default_factory=dict)
    error: int = 0
