"""Simulated time: the clock, the scheduler, processes and their tasks. It knows nothing of rufusd.

A task is a greenlet. Exactly one runs at a time, and it gives way only inside a call of the world (a sleep, a disk
call, a wait for a socket). So a race is a function of its seed: no real clock, no real thread, no real chance.
"""

from __future__ import annotations

import heapq
import random
import traceback
from typing import Any, Callable

import greenlet

START = 1000.0  # the world's clock when a race begins, in seconds


class Killed(BaseException):
    """This process is no more: it was killed, or it has ended. No product code catches it."""


class World:
    """Time, and what is due. `chance(name)` gives each part of the world its own stream of random numbers."""

    def __init__(self, seed: object) -> None:
        self.seed = seed
        self.now = START
        self.hub = greenlet.getcurrent()
        self.trace: list[tuple[float, str, str]] = []  # (time, who, what happened), for the page
        self.verbose = False
        self.defects: list[str] = []  # a task ended by an exception
        self._queue: list[tuple[float, int, Any]] = []
        self._number = 0
        self._streams: dict[str, random.Random] = {}

    def chance(self, name: str) -> random.Random:
        """The stream of this name. One part that asks more often changes nothing for the others."""
        if name not in self._streams:
            self._streams[name] = random.Random(f"{self.seed}/{name}")
        return self._streams[name]

    def note(self, who: str, what: str) -> None:
        """Keep a line of the story."""
        self.trace.append((self.now, who, what))
        if self.verbose:
            print(f"{self.now - START:9.3f} {who:<8} {what}", flush=True)

    def at(self, delay: float, call: Callable[[], Any]) -> None:
        """Call this after so many seconds, outside any process."""
        self._number += 1
        heapq.heappush(self._queue, (self.now + max(0.0, delay), self._number, call))

    def run(self, until: float) -> None:
        """Let the time pass."""
        queue = self._queue
        while queue and queue[0][0] <= until:
            self.now, _, call = heapq.heappop(queue)
            call()
        self.now = max(self.now, until)

    # -- for the task that runs

    def sleep(self, seconds: float) -> None:
        """The running task sleeps."""
        task = greenlet.getcurrent()
        process = task.process
        if process.dead:
            raise Killed
        self._number += 1
        heapq.heappush(self._queue, (self.now + (seconds if seconds > 0 else 0.0), self._number, task.resume))
        self.hub.switch()
        if process.dead:
            raise Killed
        if process.signals:
            process.take_signals()

    def wait(self, ready: Callable[[], Any], on: list[Waitable], seconds: float | None) -> Any:
        """Park the running task until `ready` gives something true; one of `on` says when to look. The last answer."""
        end = None if seconds is None else self.now + max(0.0, seconds)
        task = greenlet.getcurrent()
        found = ready()
        while not found and (end is None or self.now < end):
            turn = Turn(task)
            for each in on:
                each.waiting.append(turn)
            if end is not None:
                self.at(end - self.now, turn.come)
            self.hub.switch()
            turn.over = True
            for each in on:
                if turn in each.waiting:
                    each.waiting.remove(turn)
            if task.process.dead:
                raise Killed
            if task.process.signals:
                task.process.take_signals()
            found = ready()
        return found


class Turn:
    """One wait of one task."""

    def __init__(self, task: Any) -> None:
        self.task, self.over = task, False

    def come(self) -> None:
        """End the wait, if it has not ended."""
        if not self.over:
            self.over = True
            self.task.resume()


class Waitable:
    """What a task can wait for."""

    def __init__(self) -> None:
        self.waiting: list[Turn] = []

    def changed(self) -> None:
        """Let those who wait look again, at this moment of the clock."""
        for turn in list(self.waiting):
            current_world().at(0.0, turn.come)


class Task(greenlet.greenlet):  # type: ignore[misc]
    """One thread of one process."""

    process: Process

    def resume(self) -> None:
        """Go on, unless it has ended; a killed process never runs again."""
        if not self.dead and not self.process.dead:
            self.switch()


class Process:
    """What one `kill -9` ends: its tasks, its open files, its locks."""

    def __init__(self, machine: Any, name: str, number: int) -> None:
        self.machine, self.world, self.name, self.pid = machine, machine.world, name, number
        self.started = machine.world.now
        self.dead = False
        self.status: int | None = None  # as the shell sees it; None while it runs, or where it was killed
        self.tasks: list[Task] = []
        self.files: dict[int, Any] = {}
        self.signals: list[int] = []
        self.handlers: dict[int, Any] = {}
        self.facts: dict[str, Any] = {}  # what the simulated modules keep for it
        self.on_end: list[Callable[[], Any]] = []

    def run(self, main: Callable[[], int]) -> None:
        """Begin."""

        def body() -> None:
            try:
                self.status = main()
            except Killed:
                return
            except SystemExit as end:
                self.status = end.code if isinstance(end.code, int) else 1
            except BaseException as error:
                self.status = 1
                self.defect(error)
            self.end()

        self.spawn(body)

    def spawn(self, body: Callable[[], Any]) -> Task:
        """Begin one more task."""

        def guarded() -> None:
            try:
                body()
            except Killed:
                pass
            except BaseException as error:
                self.defect(error)

        task = Task(guarded, parent=self.world.hub)
        task.process = self
        self.tasks.append(task)
        self.world.at(0.0, task.resume)
        return task

    def defect(self, error: BaseException) -> None:
        """A task has ended by an exception, which no product code may let happen."""
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self.world.defects.append(text)
        self.world.note(self.name, f"DEFECT: {error!r}")

    def end(self) -> None:
        """It is over: killed, or run to its end. Its files are closed, its locks are free, its tasks never go on."""
        if self.dead:
            return
        self.dead = True
        files, self.files = list(self.files.values()), {}
        for file in files:
            file.close_by(self)
        me = greenlet.getcurrent()
        for task in self.tasks:
            if task is not me and not task.dead and task:  # `task`: it has begun
                self.world.at(0.0, lambda task=task: task.throw(Killed) if not task.dead else None)  # type: ignore[misc]
        for call in self.on_end:
            call()

    def kill(self) -> None:
        """`kill -9`. Does not return where the caller is one of its own tasks."""
        self.end()
        if greenlet.getcurrent() in self.tasks:
            raise Killed

    def signal(self, number: int) -> None:
        """A signal arrives: at its handler once the process runs next, or it ends the process."""
        if self.dead:
            return
        if number in self.handlers:
            self.signals.append(number)
        else:
            self.world.note(self.name, f"is ended by signal {number}")
            self.end()

    def take_signals(self) -> None:
        """Call the handlers; only the first task does, as Python's main thread."""
        if greenlet.getcurrent() is self.tasks[0]:
            signals, self.signals = self.signals, []
            for number in signals:
                self.handlers[number](number, None)


_world: list[World] = []


def current_world() -> World:
    """The world of the race that runs."""
    return _world[-1]


def enter(world: World) -> None:
    """From now on this is the world."""
    _world[:] = [world]


def current() -> Process:
    """The process that runs. Raises Killed where it is dead already: nothing that it does has an effect any more."""
    process: Process = greenlet.getcurrent().process
    if process.dead:
        raise Killed
    return process
