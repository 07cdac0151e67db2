"""Processes of the peers, which load once, then run when they are asked to."""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environments import ROOT, python_of

__all__ = ["FreshProcesses", "Job", "Reply", "Worker", "WorkerError"]


class WorkerError(RuntimeError):
    """A worker ended before it answered.

    Args:
        said: What it wrote on its error stream.
    """

    def __init__(self, said: str):
        super().__init__(f"a worker ended before it answered:\n{said[-6000:]}")
        self.reason = said.strip().rpartition("\n")[2]


@dataclass(frozen=True)
class Job:
    """What a process does.

    Attributes:
        environment: Name of a file in `requirements/`.
        function: `module:function` in `benchmarks.workers`.
        settings: What the function is told.
        packages: Whose versions are recorded.
        variables: Environment variables.
    """

    environment: str
    function: str
    settings: dict[str, Any]
    packages: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """What one run took and gave."""

    seconds: float
    memory: float
    outputs: np.ndarray


class Worker:
    """A process that stays, and sleeps while others are measured."""

    def __init__(self, job: Job, cache: Path):
        self._directory = tempfile.TemporaryDirectory()
        variables = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
        # No setting of the user's reaches them, and compiled programs are kept with the benchmarks.
        variables |= {
            "CLOZEWORK_CACHE": str(cache / "clozework"),
            "KERAS_HOME": str(cache / "keras"),
        }
        self._log = Path(self._directory.name) / "log.txt"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [str(python_of(job.environment, cache)), "-m", "benchmarks.workers", job.function],
                cwd=ROOT,
                env={**variables, **job.variables},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        outputs = str(Path(self._directory.name) / "outputs.npy")
        self._ask({**job.settings, "outputs": outputs, "packages": list(job.packages)})
        self.versions: dict[str, str] = self._answer()["versions"]

    def run(self) -> Reply:
        """Runs the job once."""
        self._process.send_signal(signal.SIGCONT)
        self._ask({})
        answer = self._answer()
        outputs = np.load(answer["outputs"])
        # Threads that spin while they wait would take time from others.
        self._process.send_signal(signal.SIGSTOP)
        return Reply(answer["seconds"], answer["memory"], outputs)

    def close(self) -> None:
        """Ends the process."""
        self._process.send_signal(signal.SIGCONT)
        self._process.communicate()
        self._directory.cleanup()

    def _ask(self, content: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        # One that has ended gives no answer, which is where that is said.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(content) + "\n")
            self._process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            said = self._log.read_text(encoding="utf-8", errors="replace")
            self.close()
            raise WorkerError(said)
        return json.loads(line)


class FreshProcesses:
    """A new process for each run: its seconds are those from its start to its first answer."""

    def __init__(self, job: Job, cache: Path):
        self._job = job
        self._cache = cache
        python_of(job.environment, cache)
        self.versions: dict[str, str] = {}

    def run(self) -> Reply:
        """Starts a process, loads and runs the job once."""
        start = time.perf_counter()
        worker = Worker(self._job, self._cache)
        reply = worker.run()
        seconds = time.perf_counter() - start
        self.versions = worker.versions
        worker.close()
        return Reply(seconds, reply.memory, reply.outputs)

    def close(self) -> None:
        """Nothing is left to end."""
