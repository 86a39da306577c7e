"""`make simulate`: many races, a line of progress, and for what fails its seed, its shortest story and a page."""

from __future__ import annotations

import argparse
import multiprocessing
import pathlib
import sys
import time
from collections import Counter
from typing import Any

from .product import HOME, Change, Product
from .race import Race
from .story import Story, from_json, write

PAGES = HOME / "build" / "simulation"
CHUNK = 20  # races that a worker plays between two reports
Result = tuple[int, list[tuple[str, str]], dict[str, int], float]  # seed, problems, counts, seconds simulated

_product: list[Product] = []


def play(story: Story, product: Product, *, verbose: bool = False) -> tuple[Race, list[tuple[str, str]]]:
    """Play one race; what is wrong, and an error of the simulation itself is wrong, too."""
    race = Race(story, product, verbose=verbose)
    try:
        race.run()
    except Exception as error:
        import traceback

        race.oracle.problems.append(("simulation", f"{error!r} {traceback.format_exc()[-600:]}"))
    return race, race.oracle.problems


def _begin(change: Change | None) -> None:
    _product[:] = [Product(change)]


def _chunk(seeds: range) -> list[Result]:
    results = []
    for seed in seeds:
        race, problems = play(write(seed), _product[0])
        results.append((seed, problems, race.oracle.counts, race.world.now - 1000.0))
    return results


def chunks(first: int, count: int) -> list[range]:
    """The seeds, a handful at a time."""
    return [range(start, min(start + CHUNK, first + count)) for start in range(first, first + count, CHUNK)]


def _told(story: Story, product: Product, rule: str) -> tuple[pathlib.Path, pathlib.Path]:
    """Shrink a failing story and write its page."""
    from . import page
    from .shrink import shrink

    short = shrink(story, lambda each: any(rule == name for name, _ in play(each, product)[1]))
    race, problems = play(short, product)
    PAGES.mkdir(parents=True, exist_ok=True)
    name = f"{story.seed}-{rule.partition(':')[0].replace(' ', '-')}"
    told, kept = PAGES / f"{name}.txt", PAGES / f"{name}.json"
    first = [each for each in problems if each[0] == rule]
    told.write_text(
        page.write(race, story.seed, first + [each for each in problems if each[0] != rule]), encoding="utf-8"
    )
    kept.write_text(short.to_json() + "\n", encoding="utf-8")
    return told, kept


def main(arguments: list[str]) -> int:
    """The exit status: 1 where anything is wrong."""
    parser = argparse.ArgumentParser("simulation")
    parser.add_argument("--races", type=int, default=2000, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--jobs", type=int, default=2, help="how many at the same time")
    parser.add_argument("--race", type=int, help="one race by its seed, told as it happens")
    parser.add_argument("--story", type=pathlib.Path, help="one kept story, told as it happens")
    parser.add_argument("--no-pages", action="store_true", help="do not shrink what fails")
    options = parser.parse_args(arguments)
    if options.race is not None or options.story:
        story = from_json(options.story.read_text()) if options.story else write(options.race)
        _, problems = play(story, Product(), verbose=True)
        for rule, text in problems:
            print(f"{rule}: {text}")
        return 1 if problems else 0
    return _many(options)


def _many(options: Any) -> int:
    began, told = time.monotonic(), 0.0
    counts: Counter[str] = Counter()
    found: dict[str, list[tuple[int, str]]] = {}
    played, simulated = 0, 0.0
    with multiprocessing.get_context("spawn").Pool(options.jobs, _begin, (None,)) as pool:
        for results in pool.imap_unordered(_chunk, chunks(options.first, options.races)):
            for seed, problems, each, seconds in results:
                played, simulated = played + 1, simulated + seconds
                counts.update(each)
                for rule, text in problems:
                    if rule not in found:
                        print(f"\nrace {seed}: {rule}: {text}", flush=True)
                    found.setdefault(rule, []).append((seed, text))
            now = time.monotonic()
            if now - told > (1 if sys.stderr.isatty() else 20):
                told = now
                pace = played / (now - began)
                end = "" if sys.stderr.isatty() else "\n"
                bad = len({seed for seeds in found.values() for seed, _ in seeds})
                sys.stderr.write(f"\r{played} of {options.races} races, {pace:.0f} a second, {bad} failed {end}")
                sys.stderr.flush()
    took = time.monotonic() - began
    failed = sorted({seed for seeds in found.values() for seed, _ in seeds})
    print(f"\n{played} races in {took:.0f} s, {played / took:.1f} a second, {simulated / 3600:.1f} h simulated.")
    print(
        f"triggers attempted: {counts['attempted']}, closes acknowledged: {counts['acknowledged']}, sessions found "
        f"closed: {counts['found']}, of these never acknowledged: {counts['recovered']}; close calls: {counts['calls']}"
    )
    if not failed:
        print("0 violations.")
        return 0
    print(f"{len(failed)} races FAILED:")
    product = Product()
    for rule, seeds in sorted(found.items(), key=lambda each: -len(each[1])):
        print(f"  {len(seeds):5}  {rule}: seeds {', '.join(str(seed) for seed, _ in sorted(seeds)[:8])}")
        if not options.no_pages:
            seed = min(seed for seed, _ in seeds)
            page, _ = _told(write(seed), product, rule)
            print(f"         told in {page.relative_to(HOME)}; again with: make simulate RACE={seed}")
    return 1
