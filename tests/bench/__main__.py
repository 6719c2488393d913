"""The benchmarks, in one run of about two minutes: `make bench`, or `python -m tests.bench [PART]… [--profile]`.

Each figure stands beside its baseline, measured in the same run and in turns with it, and beside its target. Nothing
fails when a target is missed: machines differ, and what else they do. `--profile`: where a token's time goes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

from bridge.cli.running import run
from tests.bench import door_bench, engine_bench, events_bench, masking_figures, token_bench
from tests.bench.report import say

PARTS: Mapping[str, Callable[[], object]] = {
    "door": lambda: run(door_bench.main()),
    "tokens": lambda: run(token_bench.main()),
    "engine": engine_bench.main,
    "events": events_bench.main,
    "masking": masking_figures.speed,
}


def main() -> None:
    """Run the parts that were asked for, or all."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; without one: all")
    options.add_argument("--profile", action="store_true", help="print where a token's time goes, and nothing else")
    given = options.parse_args()
    if unknown := set(given.parts) - PARTS.keys():
        options.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if given.profile:
        run(token_bench.main(profile=True))
        return
    for name in given.parts or PARTS:
        say(f"\n{name}")
        PARTS[name]()


if __name__ == "__main__":
    main()
