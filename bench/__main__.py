"""`python -m bench`: measure what is asked for, print one table."""

from __future__ import annotations

import argparse
import os
import platform
import sys

from bench import cold_start, edit_loop, embedded, environments, hashing, no_change, sync
from bench.timing import Table

SECTIONS = ("start", "graph", "hash", "loop", "cluster", "operator", "sync")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="bench/run", description="Measure kindling beside its peers."
    )
    parser.add_argument(
        "sections",
        nargs="*",
        metavar="SECTION",
        help=f"which of [{', '.join(SECTIONS)}]; all by default",
    )
    parser.add_argument(
        "--sizes", default="1000,10000", help="nodes of the graphs, with commas (%(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=7, help="times each is tried (%(default)s)")
    parser.add_argument(
        "--idle", type=float, default=60.0, help="seconds of an idle operator (%(default)s)"
    )
    parser.add_argument(
        "--storm", type=int, default=0, help="environments of a storm; none by default"
    )
    parser.add_argument(
        "--saves", type=int, default=200, help="saved files of each way of sync (%(default)s)"
    )
    parser.add_argument(
        "--slow-saves",
        type=int,
        default=50,
        help="sync: of ways that take a second for each (%(default)s)",
    )
    parser.add_argument(
        "--parts",
        default=",".join(sync.PARTS),
        help="sync: which parts, with commas (%(default)s)",
    )
    parser.add_argument("--only", default="", help="sync: ways whose names have this in them")
    parser.add_argument(
        "--trees", type=int, default=3, help="sync: times a whole tree is brought (%(default)s)"
    )
    parser.add_argument(
        "--minutes", type=float, default=18.0, help="sync: after these it ends (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="sync alone: as JSON")
    arguments = parser.parse_args()
    unknown = set(arguments.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"unknown [{', '.join(sorted(unknown))}]; known are [{', '.join(SECTIONS)}]")
    wanted = arguments.sections or SECTIONS
    parts = arguments.parts.split(",")
    if strange := set(parts) - set(sync.PARTS):
        parser.error(f"unknown [{', '.join(sorted(strange))}]; parts: [{', '.join(sync.PARTS)}]")
    if arguments.json and set(wanted) != {"sync"}:
        parser.error("--json is for sync alone: bench/run sync --json")

    table = Table()
    if "start" in wanted:
        cold_start.measure(table, 2 * arguments.rounds + 1)
    if "graph" in wanted:
        sizes = tuple(int(size) for size in arguments.sizes.split(","))
        no_change.measure(table, sizes, arguments.rounds)
    if "loop" in wanted:
        edit_loop.measure(table, arguments.rounds)
    if "cluster" in wanted:
        embedded.measure(table, arguments.rounds)
    if "operator" in wanted:
        rounds = min(arguments.rounds, 3)
        environments.measure(table, rounds, idle=arguments.idle, storm=arguments.storm)

    if set(wanted) != {"sync"}:
        print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    if set(wanted) - {"hash", "sync"}:
        print(table.render())
    if "hash" in wanted:
        print("\nhash of 50,000 files")
        print("\n".join(f"  {line}" for line in hashing.measure().splitlines()))
    if "sync" not in wanted:
        return 0
    return sync.measure(
        sync.Wanted(
            parts=parts,
            saves=arguments.saves,
            slow_saves=arguments.slow_saves,
            rounds=arguments.trees,
            only=arguments.only,
            minutes=arguments.minutes,
        ),
        as_json=arguments.json,
    )


if __name__ == "__main__":
    sys.exit(main())
