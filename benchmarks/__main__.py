"""The command: `python -m benchmarks NAME ...`."""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.comparisons import COMPARISONS, GPU_COMPARISONS, Comparison, Plan
from benchmarks.environments import cache_of_benchmarks
from benchmarks.report import machine, section_of, store, whole_report
from benchmarks.rounds import measure

_RESULTS = Path(__file__).parent / "RESULTS.md"
_TRIAL = {"texts": 24, "layers": 2, "repetitions": 1}


def main() -> None:
    """Runs the comparisons that are named, prints their tables and writes the results."""
    parser = _parser()
    options = parser.parse_args()
    comparisons = {**COMPARISONS, **GPU_COMPARISONS}
    unknown = sorted(set(options.names) - set(comparisons))
    if unknown:
        parser.error(f"no comparison {', '.join(unknown)}; there are {', '.join(comparisons)}")
    if options.here:
        os.environ["BENCHMARKS_PYTHON"] = sys.executable
    is_trial = options.trial
    if is_trial:
        vars(options).update(_TRIAL)
    plan = Plan(options.cache.resolve(), options.texts, options.layers)
    for name in options.names or COMPARISONS:
        comparison = _with_peers(comparisons[name](plan), options.peers)
        measured = measure(comparison, options.repetitions, plan.cache)
        section = section_of(comparison, measured, options.repetitions)
        print(f"{section}\n{machine()}\n", flush=True)
        if not is_trial and not options.peers:
            store(name, section, plan.cache)
            _RESULTS.write_text(whole_report(plan.cache), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    of_gpu = f"of {', '.join(COMPARISONS)}; on a GPU {', '.join(GPU_COMPARISONS)}"
    parser.add_argument("names", nargs="*", metavar="NAME", help=of_gpu)
    parser.add_argument("--repetitions", type=int, default=5, help="rounds that count; 5")
    parser.add_argument("--texts", type=int, default=1000, help="number of texts; 1,000")
    parser.add_argument("--layers", type=int, help="number of layers in place of the real ones")
    parser.add_argument("--cache", type=Path, default=cache_of_benchmarks(), help="folder for all")
    parser.add_argument(
        "--peers", action="append", help="only the row of this name, or those with it"
    )
    parser.add_argument("--here", action="store_true", help="peers share this environment")
    parser.add_argument("--trial", action="store_true", help="small, to see that all runs")
    return parser


def _with_peers(comparison: Comparison, wanted: list[str] | None) -> Comparison:
    """Returns the comparison with the peers that were asked for, and its reference."""
    if not wanted:
        return comparison
    names = {peer.name for peer in comparison.peers}
    chosen = tuple(
        peer
        for peer in comparison.peers
        if peer.name in (comparison.reference, *wanted)
        or any(part in peer.name for part in wanted if part not in names)
    )
    return replace(comparison, peers=chosen)


if __name__ == "__main__":
    main()
