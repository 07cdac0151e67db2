"""Tables that fit into memory, as training needs them."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clozework.bulk import open_rows
from clozework.errors import InputError, MissingPackageError

__all__ = ["read_table"]

# What separates columns in files that are not understood.
_NO_DELIMITERS = "~^:#/\\&\x1f"


def read_table(path) -> dict[str, list[Any]]:
    """Returns the columns of a file, or of a directory that `datasets` saved.

    Raises:
        InputError: If it cannot be read, or a row is not like the others; all are counted.

    Example:
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = Path(directory, "reviews.csv")
    ...     _ = path.write_text("text,label\\na fine film,good\\n")
    ...     read_table(path)
    {'text': ['a fine film'], 'label': ['good']}
    """
    path = Path(path)
    if path.is_dir():
        return _read_dataset(path)
    file = open_rows(path)
    columns: dict[str, list[Any]] = {name: [] for name in file.columns}
    problems = []
    for row in file.rows():
        problem = row.problem or _misfit(row.values, columns)
        if problem:
            problems.append(f"row {row.number}: {problem}")
            continue
        for name, values in columns.items():
            values.append(row.values[name])
    if problems:
        raise InputError(
            f"{len(problems)} rows of {path.name!r} cannot be used, the first ones: "
            f"{'; '.join(problems[:3])}. Mend them, or take them out."
        )
    _check_delimiter(path, columns)
    return columns


def _check_delimiter(path: Path, columns: Mapping[str, list]) -> None:
    """Raises `InputError` where the only column looks like several."""
    if len(columns) != 1:
        return
    [(name, values)] = columns.items()
    for mark in _NO_DELIMITERS:
        if mark in name and all(isinstance(v, str) and mark in v for v in values):
            raise InputError(
                f"{path.name!r} has one column, {name!r}, and {mark!r} stands in each of its rows. "
                f"Columns are separated by a comma, a semicolon, a tab or a bar: write one of them "
                f"in place of {mark!r}."
            )


def _misfit(values: Mapping[str, Any], columns: Mapping[str, list]) -> str:
    missing = [name for name in columns if name not in values]
    return f"it has no {', '.join(map(repr, missing))}" if missing else ""


def _read_dataset(path: Path) -> dict[str, list[Any]]:
    try:
        datasets = importlib.import_module("datasets")
    except ImportError as error:
        raise MissingPackageError(
            f"The directory {str(path)!r} is read by `datasets`. Install it: pip install datasets"
        ) from error
    try:
        dataset = datasets.load_from_disk(str(path))
    except (FileNotFoundError, ValueError) as error:
        raise InputError(
            f"{str(path)!r} is no directory that `datasets` saved. Pass a file, such as .csv."
        ) from error
    if isinstance(dataset, datasets.DatasetDict):
        raise InputError(
            f"{str(path)!r} holds several splits: {', '.join(map(repr, dataset))}. Pass the "
            f"directory of one of them."
        )
    return {name: list(dataset[name]) for name in dataset.column_names}
