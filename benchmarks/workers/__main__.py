"""Serves one job: `python -m benchmarks.workers MODULE:FUNCTION`, settings in JSON.

The job's function takes the settings and returns a function without arguments, or None where all is
done. Each further line runs that and answers with a line of JSON: the seconds, the most memory in
use in MB (resident, or that of the GPU which `device` names), and the file with the outputs. Where
a run returns a function, that gives the outputs when the time has been taken.
"""

import importlib
import json
import os
import resource
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np

# Whatever libraries print goes to the error stream: answers alone belong on the output.
_ANSWERS = os.fdopen(os.dup(sys.stdout.fileno()), "w")
os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


def main() -> None:
    """Loads, then runs whenever it is asked to, until the input ends."""
    module, _, function = sys.argv[1].partition(":")
    settings = json.loads(sys.stdin.readline())
    run = getattr(importlib.import_module(f"benchmarks.workers.{module}"), function)(settings)
    _answer({"versions": _versions(settings["packages"])})
    if run is None:
        return
    for _ in sys.stdin:
        start = time.perf_counter()
        outputs = run()
        seconds = time.perf_counter() - start
        memory = _memory() if settings.get("device", "cpu") == "cpu" else _memory_of_gpu()
        outputs = outputs() if callable(outputs) else outputs
        _answer({"seconds": seconds, "memory": memory, "outputs": _stored(outputs, settings)})


def _answer(content: dict) -> None:
    _ANSWERS.write(json.dumps(content) + "\n")
    _ANSWERS.flush()


def _memory() -> float:
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest / (1e6 if sys.platform == "darwin" else 1e3)


def _memory_of_gpu() -> float:
    used = 0
    if os.environ.get("KERAS_BACKEND") == "jax":
        import jax

        used += (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)
    if "torch" in sys.modules:
        import torch

        used += torch.cuda.max_memory_allocated()
    return used / 1e6


def _stored(outputs: np.ndarray, settings: dict) -> str:
    path = Path(settings["outputs"])
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, outputs)
    return str(path)


def _versions(packages: list[str]) -> dict[str, str]:
    return {package: metadata.version(package) for package in packages}


main()
