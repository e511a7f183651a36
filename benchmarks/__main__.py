"""`python -m benchmarks [MODULE …]`: the rows of each module, with their budgets; exit status 1 below an enforced one.

A module has `async def rows(bench: Bench) -> list[Row]`.
"""

from __future__ import annotations

import asyncio
import importlib
import sys

from .harness import Bench, Row, Skipped

MODULES = ("function", "gateway", "broker", "cold_start")


def main(names: list[str]) -> int:
    unknown = set(names) - set(MODULES)
    if unknown:
        print(f"there is no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(MODULES)}", file=sys.stderr)
        return 2
    bench = Bench()
    bench.cache.mkdir(parents=True, exist_ok=True)
    found: list[Row] = []
    for name in names or MODULES:
        module = importlib.import_module(f"{__package__}.{name}")
        try:
            found += asyncio.run(module.rows(bench))
        except Skipped as skipped:
            print(f"{name}: skipped: {skipped}")
    print(table(found))
    return 0 if all(row.met or not row.enforced for row in found) else 1


def table(rows: list[Row]) -> str:
    head = f"{'what':<28}{'against':<24}{'ours':>10}{'theirs':>10} {'unit':<8}{'ratio':>8}{'rounds':>16}{'budget':>8}"
    return "\n".join([f"{head}{'req/s seen':>22}", *map(line, rows)])


def line(row: Row) -> str:
    budget = "" if row.budget is None else f"{row.budget:g}×"
    verdict = "" if row.met else "  BELOW" if row.enforced else "  not yet"
    digits = 0 if min(row.ours, row.theirs) >= 100 else 1
    spread = "" if row.spread is None else f"{row.spread[0]:.2f}–{row.spread[1]:.2f}"
    rates = "" if row.rates is None else f"{row.rates[0]:,.0f} : {row.rates[1]:,.0f}"
    figures = f"{row.ours:>10.{digits}f}{row.theirs:>10.{digits}f} {row.unit:<8}{row.ratio:>7.2f}×"
    return f"{row.name:<28}{row.peer:<24}{figures}{spread:>16}{budget:>8}{rates:>22}{verdict}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
