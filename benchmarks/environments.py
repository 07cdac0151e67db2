"""Environments of the peers: one a file in `requirements/`, made by pip when first needed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["ROOT", "cache_of_benchmarks", "python_of"]

ROOT = Path(__file__).parents[1]
_REQUIREMENTS = Path(__file__).parent / "requirements"


def cache_of_benchmarks() -> Path:
    """Returns where environments, models and texts lie unless an option says otherwise."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "clozework" / "benchmarks"


def python_of(name: str, cache: Path) -> Path:
    """Returns the interpreter of an environment, which is made unless it is there.

    Args:
        name: Of a file in `requirements/`, without its ending.
        cache: Folder of the benchmarks; the environment lies in `environments/` below it.

    Where `BENCHMARKS_PYTHON` names an interpreter, all peers share it and what is installed there.
    """
    if shared := os.environ.get("BENCHMARKS_PYTHON"):
        return Path(shared)
    wanted = (_REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8")
    directory = cache / "environments" / name
    python = directory / "bin" / "python"
    mark = directory / "installed.txt"
    if mark.exists() and mark.read_text(encoding="utf-8") == wanted:
        return python
    print(f"Making the environment {name!r} in {directory}", file=sys.stderr)
    shutil.rmtree(directory, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--requirement"]
    # `-e .` in a file is the root of the repository.
    subprocess.run([*install, str(_REQUIREMENTS / f"{name}.txt")], check=True, cwd=ROOT)
    mark.write_text(wanted, encoding="utf-8")
    return python
