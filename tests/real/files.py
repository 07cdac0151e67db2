"""Where the files of the tests marked `real` are."""

import os
from pathlib import Path

import pytest

from clozework.caches import cache_directory

__all__ = ["real_data_directory", "real_file"]


def real_data_directory() -> Path:
    """Returns the directory that CLOZEWORK_REAL_DATA names, else one in Clozework's cache."""
    chosen = os.environ.get("CLOZEWORK_REAL_DATA")
    return Path(chosen) if chosen else cache_directory() / "real"


def real_file(name: str) -> Path:
    """Returns the path of a real file; skips the test that asks for it where there is none."""
    path = real_data_directory() / name
    if not path.exists():
        pytest.skip(f"{path} is not there; run `python -m tests.real.fetch` first")
    return path
