"""`make bench`: measures, prints the table, and writes latest.json; with --page also docs/benchmarks.md."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import page, rivals
from benchmarks.figures import HEAD, Figure, to_rows
from benchmarks.measuring import PARTS

LATEST = Path(__file__).with_name("latest.json")


def main() -> None:
    """Parses the command line and measures what was asked for."""
    asked = _parser().parse_args()
    for peer in asked.peers:
        with suppress(rivals.NotMeasuredError):
            rivals.prepare(peer)
    figures: list[Figure] = []
    for name in asked.only or PARTS:
        print(f"measuring {name} …", file=sys.stderr)
        figures += PARTS[name](asked.times, asked.peers)
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    _print(figures)
    if not asked.only:
        LATEST.write_text(json.dumps(_to_json(figures, date), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        if asked.page:
            page.update(figures, date)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--times", type=int, default=5, metavar="N", help="repetitions; the median counts (5)")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}; latest.json stays as it is")
    parser.add_argument("--peers", nargs="*", default=[], choices=rivals.names(), metavar="PEER", help=f"of {', '.join(rivals.names())}")
    parser.add_argument("--page", action="store_true", help="bring docs/benchmarks.md up to date")
    return parser


def _to_json(figures: list[Figure], date: str) -> dict[str, object]:
    return {"format": 1, "date": date, "machine": page.machine(), "figures": [figure.to_json() for figure in figures]}


def _print(figures: list[Figure]) -> None:
    table = Table(*HEAD, box=None, header_style="bold", pad_edge=False)
    for row in to_rows(figures):
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 200).print(table)


if __name__ == "__main__":
    main()
