"""Workers, in this environment in place of one of their own."""

import sys

import numpy as np
import pytest

from benchmarks.comparisons import Comparison, Peer
from benchmarks.processes import FreshProcesses, Job, Worker, WorkerError
from benchmarks.rounds import measure


@pytest.fixture(autouse=True)
def this_environment(monkeypatch):
    monkeypatch.setenv("BENCHMARKS_PYTHON", sys.executable)


@pytest.fixture
def job() -> Job:
    return Job("any", "counting:counter", {"start": 5}, packages=("numpy",))


@pytest.mark.parametrize(("kind", "second"), [(Worker, 6), (FreshProcesses, 5)])
def test_a_worker_stays_and_a_fresh_process_does_not(kind, second, job, tmp_path):
    worker = kind(job, tmp_path)
    answers = [worker.run().outputs.tolist() for _ in range(2)]
    worker.close()
    assert answers == [[5], [second]]
    assert worker.versions == {"numpy": np.__version__}


def test_a_worker_that_ends_says_why(job, tmp_path):
    with pytest.raises(WorkerError, match="(?s)ended before it answered:.*KeyError: 'start'"):
        Worker(Job("any", "counting:counter", {}), tmp_path)


def test_peers_that_do_not_run_leave_the_others_alone(job, tmp_path):
    broken = Job("any", "counting:counter", {})
    peers = tuple(
        Peer(name, lambda job=job: job, 2.0)
        for name, job in {"first": job, "second": job, "broken": broken}.items()
    )
    comparison = Comparison("A title", "numbers", peers, reference="second", text="")
    first, second, none = measure(comparison, 2, tmp_path)
    assert (len(first.seconds), len(second.seconds)) == (2, 2)
    assert (first.agreement, second.agreement) == ("100.00% equal", "reference")
    assert none.note == "Does not run: KeyError: 'start'"
