"""Measures the peers of a comparison, in turns."""

import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks.comparisons import Comparison, Peer
from benchmarks.measuring import Measured, difference
from benchmarks.processes import FreshProcesses, Worker, WorkerError

__all__ = ["measure"]


def measure(comparison: Comparison, repetitions: int, cache: Path) -> list[Measured]:
    """Returns what each peer took, in their order; one that does not run says why.

    Each round runs every peer once, so that a noisy moment hits all of them. Before the first, each
    runs once more, which compiles what there is to compile and gives the outputs that are compared.
    """
    with ExitStack() as stack:
        running: dict[str, Worker | FreshProcesses] = {}
        measured = {peer.name: Measured(peer.name, peer.work) for peer in comparison.peers}
        outputs: dict[str, np.ndarray] = {}
        for peer in comparison.peers:
            record = measured[peer.name]
            record.note = peer.note
            try:
                process = (FreshProcesses if peer.is_fresh else Worker)(peer.job(), cache)
                stack.callback(process.close)
                reply = process.run()
            except WorkerError as error:
                print(f"{peer.name}: {error}", file=sys.stderr)
                record.note = f"Does not run: {error.reason}"
                continue
            running[peer.name] = process
            outputs[peer.name] = reply.outputs
            record.first, record.versions = reply.seconds, process.versions
            print(f"{peer.name}: first run {reply.seconds:.2f} s", file=sys.stderr)
        for i in range(repetitions):
            for name, process in running.items():
                reply = process.run()
                measured[name].seconds.append(reply.seconds)
                measured[name].memory = reply.memory
                print(f"{i + 1}/{repetitions} {name}: {reply.seconds:.2f} s", file=sys.stderr)
    _compare(comparison.peers, outputs, measured, comparison.reference)
    return list(measured.values())


def _compare(
    peers: tuple[Peer, ...],
    outputs: dict[str, np.ndarray],
    measured: dict[str, Measured],
    reference: str,
) -> None:
    for peer in peers:
        if peer.name == reference:
            measured[peer.name].agreement = "reference"
        elif peer.name in outputs and reference in outputs and peer.is_compared:
            measured[peer.name].agreement = difference(outputs[peer.name], outputs[reference])
