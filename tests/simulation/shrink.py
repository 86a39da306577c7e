"""A failing race made as short as it can be and still fails by the same rule."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, Callable

from .story import Event, Story


def shrink(story: Story, fails: Callable[[Story], bool], seconds: float = 60.0) -> Story:
    """The shortest story found within so many seconds of the real clock. `fails` plays one."""
    deadline = time.monotonic() + seconds

    def still(candidate: Story) -> bool:
        return time.monotonic() < deadline and fails(candidate)

    before = None
    while before != story and time.monotonic() < deadline:
        before = story
        story = _fewer_events(story, still)
        story = _simpler_setup(story, still)
        story = _simpler_events(story, still)
    return story


def _fewer_events(story: Story, still: Callable[[Story], bool]) -> Story:
    size = max(1, len(story.events) // 2)
    while True:
        start = 0
        while start < len(story.events):
            gone = set(range(start, min(start + size, len(story.events))))
            candidate = story.without(gone)
            if still(candidate):
                story = candidate
            else:
                start += size
        if size == 1:
            return story
        size = max(1, size // 2)


def _simpler_setup(story: Story, still: Callable[[Story], bool]) -> Story:
    last = max((each.at for each in story.events), default=0.0)
    simpler: dict[str, Any] = {
        "stations": 1, "reader": False, "runs": False, "button": False, "form": "old", "quiet": 0, "grace": 0,
        "most": 0.5, "timeout": 0.5, "max_wait": 6.0, "permission": "READ_WRITE",
        "closed_again": 200, "span": round(last + 6, 1),
    }  # fmt: skip
    for name, value in simpler.items():
        if story.setup.get(name) != value and not (name == "span" and value >= story.setup["span"]):
            candidate = replace(story, setup={**story.setup, name: value})
            if still(candidate):
                story = candidate
    return story


def _simpler_events(story: Story, still: Callable[[Story], bool]) -> Story:
    for n, event in enumerate(story.events):
        for facts in _simpler_facts(event):
            changed = replace(event, facts={**event.facts, **facts})
            candidate = replace(story, events=(*story.events[:n], changed, *story.events[n + 1 :]))
            if still(candidate):
                story = candidate
                event = changed
        at = round(event.at, 1)
        if at != event.at:
            candidate = replace(story, events=(*story.events[:n], replace(event, at=at), *story.events[n + 1 :]))
            if still(candidate):
                story = candidate
    return replace(story, events=tuple(sorted(story.events, key=lambda each: each.at)))


def _simpler_facts(event: Event) -> list[dict[str, Any]]:
    simpler: dict[str, Any] = {"chatter": 0, "reads": False, "count": 1, "mode": "offline", "times": 1, "how": ""}
    return [{name: value} for name, value in simpler.items() if name in event.facts and event.facts[name] != value
            and not (name == "how" and event.kind != "save")]  # fmt: skip
