"""`make bench`: measures everything, prints one table, and keeps it in bench/last.json and bench/README.md.

The short form keeps nothing, and fails where a goal is missed by far more than noise explains.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace

from bench import figures
from bench.figures import SHORT, Extent
from bench.measure import ROOT, Place, machine
from bench.table import Row, facts, lines, placed, table

FIGURES = {
    "idle": figures.idle,
    "start": figures.start,
    "memory": figures.resident,
    "press": figures.press,
    "durable": figures.durable,
    "outage": lambda _, extent: figures.outage(extent),
    "logs": figures.logs,
    "growth": figures.growth,
    "noise": figures.noise,
}


def main() -> int:
    """Measure; 1 where the short form finds a goal missed by far."""
    parser = argparse.ArgumentParser("bench", description=__doc__)
    parser.add_argument("--short", action="store_true", help="about a minute, for CI")
    parser.add_argument("--noise", type=float, help="how many scans of noise")
    parser.add_argument("only", nargs="*", metavar="FIGURE", help=f"of {', '.join(FIGURES)}; these only, kept nowhere")
    options = parser.parse_args()
    extent = SHORT if options.short else Extent()
    if options.noise:
        extent = replace(extent, noise=int(options.noise))
    began = time.monotonic()
    rows: list[Row] = []
    with Place() as place:
        for name, measure in FIGURES.items():
            if name in (options.only or FIGURES):
                sys.stderr.write(f"{name} ...\n")
                rows += measure(place, extent)
    facts_ = {"seconds": round(time.monotonic() - began), "machine": machine(), "rows": facts(rows)}
    text = table(rows) + f"\n{facts_['seconds']} s on {_said(facts_['machine'])}\n"
    sys.stdout.write(text)
    if not (options.short or options.only):
        (ROOT / "bench/last.json").write_text(lines(facts_), encoding="utf-8")
        manual = ROOT / "bench/README.md"
        manual.write_text(placed(manual.read_text(encoding="utf-8"), text), encoding="utf-8")
    far = [row.figure for row in rows if row.far_off] if options.short else []
    for figure in far:
        sys.stderr.write(f"far off: {figure}\n")
    return 1 if far else 0


def _said(what: object) -> str:
    assert isinstance(what, dict)
    sim = "gpio-sim is there" if what["gpio-sim"] else "no gpio-sim here: real lgpio on tests/gpiofake.c"
    system = f"Linux {what['kernel']}, {what['python']}"
    return f"{what['cores']} cores ({what['cpu']}), {system}, load {what['load']:.1f}; {sim}"


if __name__ == "__main__":
    sys.exit(main())
