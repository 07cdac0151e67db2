"""The command `python -m benchmarks.accuracy`: do models that are fine-tuned score alike?

Each data set is trained on with several seeds in both libraries, each time in a new process, with
the same hyperparameters; means and standard deviations are written to `ACCURACY.md`.
"""

import argparse
import json
import os
import statistics
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from benchmarks.environments import cache_of_benchmarks
from benchmarks.processes import Job, Worker
from benchmarks.report import machine
from tests.real.files import real_data_directory

__all__ = ["main"]

_PAGE = Path(__file__).parent / "ACCURACY.md"
_SETTINGS = {"batch_size": 32, "sequence_length": 128}


@dataclass(frozen=True)
class _Run:
    """What is trained, the same in both libraries; few epochs, for a machine without a GPU."""

    title: str
    score: str
    epochs: int
    learning_rate: float


_DATA = {
    "banking77": _Run("Banking77, 77 intents", "accuracy", 1, 5e-4),
    "clinc150": _Run("CLINC150, 150 intents and out of scope", "accuracy", 1, 5e-4),
    "wnut17": _Run("WNUT17, 6 kinds of entities", "entity F1", 2, 3e-4),
}
_LIBRARIES = {"clozework": "Clozework fit", "transformers": "transformers"}
_PACKAGES = {
    "clozework": ("keras", "jax"),
    "transformers": ("transformers", "torch"),
}


def main() -> None:
    """Trains what has not been trained yet, and writes the page."""
    options = _parser().parse_args()
    if options.here:
        os.environ["BENCHMARKS_PYTHON"] = sys.executable
    cache = options.cache.resolve()
    path = cache / "results" / "accuracy.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    scores = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for seed in range(options.seeds):
        for data in options.names or _DATA:
            for library in _LIBRARIES:
                key = f"{data} {library} {seed}"
                if key not in scores:
                    scores[key] = _trained(data, library, seed, options, cache)
                    print(key, scores[key], file=sys.stderr, flush=True)
                    path.write_text(json.dumps(scores, indent=1), encoding="utf-8")
    _PAGE.write_text(_page(scores), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(_DATA)}")
    parser.add_argument("--data", type=Path, required=True, help="folder with a folder for each")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds; 3")
    parser.add_argument("--cache", type=Path, default=cache_of_benchmarks(), help="folder for all")
    parser.add_argument("--here", action="store_true", help="both share this environment")
    return parser


def _trained(data: str, library: str, seed: int, options, cache: Path) -> dict:
    settings = {
        **_SETTINGS,
        "data": data,
        "directory": str(options.data.resolve()),
        "model": str(real_data_directory() / "all_minilm_l6_v2"),
        "epochs": _DATA[data].epochs,
        "learning_rate": _DATA[data].learning_rate,
        "seed": seed,
    }
    variables = {"KERAS_BACKEND": "jax"} if library == "clozework" else {}
    job = Job(library, f"fine_tuning:{library}", settings, _PACKAGES[library], variables)
    worker = Worker(job, cache)
    reply = worker.run()
    worker.close()
    return {
        "score": float(reply.outputs),
        "seconds": reply.seconds,
        "versions": worker.versions,
        "date": str(date.today()),
    }


def _page(scores: dict) -> str:
    lines = [
        "# Scores of fine-tuning",
        "",
        "Written by `python -m benchmarks.accuracy --data DIR`: all-MiniLM-L6-v2, fine-tuned in "
        f"both libraries in batches of {_SETTINGS['batch_size']} with AdamW, warm-up and cosine; "
        "mean and standard deviation over the seeds, and each score. A seed gives both the same "
        "order of examples and the same first weights of new layers; dropout is each one's own.",
        "",
        "| | epochs, learning rate | score | " + " | ".join(_LIBRARIES.values()) + " |",
        "| --- | --- | --- | --- | --- |",
    ]
    for data, run in _DATA.items():
        cells = [_cell(scores, data, library) for library in _LIBRARIES]
        if all(cells):
            told = [run.title, f"{run.epochs}, {run.learning_rate:g}", run.score, *cells]
            lines.append(f"| {' | '.join(told)} |")
    versions = {f"{k} {v}" for record in scores.values() for k, v in record["versions"].items()}
    return "\n".join([*lines, "", f"{', '.join(sorted(versions))}; {machine()}.", ""])


def _cell(scores: dict, data: str, library: str) -> str:
    found = [
        record["score"] for key, record in scores.items() if key.startswith(f"{data} {library} ")
    ]
    if len(found) < 2:
        return ""
    each = ", ".join(f"{score:.2%}" for score in found)
    return f"{statistics.mean(found):.2%} ± {statistics.stdev(found):.2%} ({each})"


if __name__ == "__main__":
    main()
