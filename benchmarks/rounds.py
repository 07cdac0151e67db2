"""Measures the peers of a comparison, in turns."""

import sys
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.comparisons import Comparison, Peer
from benchmarks.environments import python_of
from benchmarks.measuring import Measured, difference
from benchmarks.processes import FreshProcesses, Job, Worker, WorkerError

__all__ = ["measure"]


def measure(comparison: Comparison, repetitions: int, cache: Path) -> list[Measured]:
    """Returns what each peer took, in their order; one that does not run says why.

    Of pairs the first peer has the rounds of all, and each other those that both had.
    """
    first, *others = comparison.peers
    if not comparison.is_in_pairs or len(others) < 2:
        return _measured_together(comparison, repetitions, cache)
    pairs = [
        _measured_together(replace(comparison, peers=(first, other)), repetitions, cache)
        for other in others
    ]
    for own, record in pairs:
        record.seconds_of_first = own.seconds
    ours = pairs[0][0]
    ours.seconds = [seconds for own, _ in pairs for seconds in own.seconds]
    return [ours, *(record for _, record in pairs)]


def _measured_together(comparison: Comparison, repetitions: int, cache: Path) -> list[Measured]:
    """Measures all peers in turns.

    Each round runs every peer once, so that a noisy moment hits all of them. Before the first, each
    runs once more, which compiles what there is to compile and gives the outputs that are compared.
    """
    with ExitStack() as stack:
        running: dict[str, Worker | FreshProcesses] = {}
        measured = {peer.name: Measured(peer.name, peer.work) for peer in comparison.peers}
        outputs: dict[str, np.ndarray] = {}
        starting = _started(comparison.peers, cache)
        for peer in comparison.peers:
            record = measured[peer.name]
            record.note = peer.note
            try:
                process = starting[peer.name].result()
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


def _started(peers: tuple[Peer, ...], cache: Path) -> dict[str, "Future[Worker | FreshProcesses]"]:
    """Starts all processes, which load their models at the same time."""
    # What they load, and the environments that they run in, are made one after another.
    jobs = {peer.name: _job(peer, cache) for peer in peers}

    def start(peer: Peer) -> Worker | FreshProcesses:
        job = jobs[peer.name]
        if isinstance(job, WorkerError):
            raise job
        return (FreshProcesses if peer.is_fresh else Worker)(job, cache)

    with ThreadPoolExecutor(max_workers=len(peers)) as threads:
        return {peer.name: threads.submit(start, peer) for peer in peers}


def _job(peer: Peer, cache: Path) -> Job | WorkerError:
    try:
        job = peer.job()
    except WorkerError as error:
        return error
    python_of(job.environment, cache)
    return job


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
