"""A verb of a model on every row of a file."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from clozework.bulk.results import Results
from clozework.bulk.rows import Row, RowFile, open_rows, text_column
from clozework.errors import ConfigError, InputError

__all__ = ["JobProgress", "JobSummary", "run_job"]

# Enough to fill rows of the model, and few enough to lose at a kill.
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class JobProgress:
    """How far a job is.

    Attributes:
        num_rows: Rows that are done, those of an earlier run included.
        share: The same as a share of the file, from 0 to 1.
        rows_per_second: Speed of this run.
        seconds_left: How long it will take at this speed.
    """

    num_rows: int
    share: float
    rows_per_second: float
    seconds_left: float


@dataclass(frozen=True)
class JobSummary:
    """What a job has done.

    Attributes:
        num_written: Rows with a result.
        num_rejected: Rows that could not be used.
        rejected: Where these stand, with the reason; None where there are none.
    """

    num_written: int
    num_rejected: int
    rejected: str | None


def run_job(
    verb: Callable[[list[Any]], Sequence[Any]],
    source,
    target,
    *,
    as_fields: Callable[[Any], Mapping[str, Any]],
    column: str | Sequence[str] | None = None,
    problem_of: Callable[[Any], str] = lambda text: "",
    on_error: str = "stop",
    is_resumed: bool = False,
    about: Mapping[str, Any] | None = None,
    on_progress: Callable[[JobProgress], None] = lambda progress: None,
) -> JobSummary:
    """Writes what a verb says of each text of a file, in their order; memory stays the same.

    Results go to a file of another name until all are there. After a `kill -9`, `is_resumed` goes
    on behind the last rows that are whole: no row is lost or doubled, and the file is the same,
    byte for byte, as that of a run without interruption.

    Args:
        verb: Such as `classifier.classify`: takes texts, returns a result for each.
        source: The file; see `open_rows`.
        target: The file of results: `.jsonl`, `.csv`, `.tsv` or `.parquet`. Each row has the
            columns of the source, and behind them the fields of the result.
        as_fields: Makes columns of a result. Where the source has one of that name, it gets
            `predicted_` in front.
        column: Holds the texts: `text` by default, or the only one. Several columns are given to
            the verb as tuples.
        problem_of: Says why a text cannot be used; empty if it can.
        on_error: What a row means that cannot be used: `"stop"`, or `"keep"` to go on and keep it
            apart, in a file that ends with `.rejected.jsonl`.
        is_resumed: Whether to go on with an earlier run, if there was one.
        about: What else results depend on, such as the model: another run is not gone on with.
        on_progress: Called now and then.

    Raises:
        InputError: If the source cannot be read, or has a row that cannot be used.
        ConfigError: If the target is there already, or an earlier run was about something else.

    Example:
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     source, target = (Path(directory, name) for name in ("texts.txt", "lengths.csv"))
    ...     _ = source.write_text("a fine film\\na bore\\n")
    ...     summary = run_job(lambda texts: map(len, texts), source, target,
    ...                       as_fields=lambda length: {"length": length})
    ...     print(summary.num_written, target.read_text().split())
    2 ['text,length', 'a', 'fine', 'film,11', 'a', 'bore,6']
    """
    if on_error not in ("stop", "keep"):
        raise ConfigError(f"`on_error` is 'stop' or 'keep', not {on_error!r}.")
    file = open_rows(source)
    asked = [column] if column is None or isinstance(column, str) else list(column)
    columns = [text_column(file, name) for name in asked]
    about = {
        "source": str(file.path.resolve()),
        "size of the source": file.path.stat().st_size,
        "column": columns[0] if len(columns) == 1 else columns,
        **(about or {}),
    }
    with Results(target, about, is_resumed=is_resumed) as results:
        rows = file.rows()
        # What an earlier run has done.
        for _ in islice(rows, results.num_read):
            pass
        clock = _Clock(file, results)
        for part in _parts(rows):
            problems = [row.problem or _problem(row.values, columns, problem_of) for row in part]
            rejected = _rejected(part, problems, file, on_error)
            usable = [row for row, told in zip(part, problems, strict=True) if not told]
            found = list(verb([_given(row.values, columns) for row in usable])) if usable else []
            fields = (_renamed(as_fields(one), file.columns) for one in found)
            results.add(
                [{**row.values, **new} for row, new in zip(usable, fields, strict=True)],
                rejected,
            )
            on_progress(clock.progress())
        results.finish()
    where = str(results.rejected) if results.num_rejected else None
    return JobSummary(results.num_written, results.num_rejected, where)


class _Clock:
    """Tells the speed of a run, and how long the rest will take."""

    def __init__(self, file: RowFile, results: Results):
        self._file = file
        self._results = results
        self._begun = time.monotonic()
        self._first_row, self._first_share = results.num_read, self._share()

    def progress(self) -> JobProgress:
        seconds = max(time.monotonic() - self._begun, 1e-9)
        share = self._share()
        done = share - self._first_share
        left = seconds * (1 - share) / done if done > 0 else float("inf")
        speed = (self._results.num_read - self._first_row) / seconds
        return JobProgress(self._results.num_read, share, speed, left)

    def _share(self) -> float:
        return self._file.share_read()


def _parts(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while part := list(islice(rows, _ROWS_AT_ONCE)):
        yield part


def _given(values: Mapping[str, Any], columns: Sequence[str]) -> Any:
    """Returns what the verb is given of a row: a text, or a tuple of texts."""
    texts = tuple(values[column] for column in columns)
    return texts[0] if len(texts) == 1 else texts


def _problem(
    values: Mapping[str, Any], columns: Sequence[str], problem_of: Callable[[Any], str]
) -> str:
    for column in columns:
        if column not in values:
            return f"it has no {column!r}"
        text = values[column]
        if not isinstance(text, str):
            return f"{column!r} is {text!r:.60}, which is no text"
        if not text.strip():
            return f"{column!r} is empty"
    return problem_of(_given(values, columns))


def _rejected(
    rows: Sequence[Row], problems: Sequence[str], file: RowFile, on_error: str
) -> list[dict[str, Any]]:
    """Returns what is to be said of the rows that have a problem."""
    told = [(row, problem) for row, problem in zip(rows, problems, strict=True) if problem]
    if told and on_error == "stop":
        row, problem = told[0]
        raise InputError(
            f"Row {row.number} of {file.path.name!r} cannot be used: {problem}. Mend it, or keep "
            f"such rows apart (`on_error='keep'`)."
        )
    return [
        {"row": row.number, "problem": problem, "values": dict(row.values)} for row, problem in told
    ]


def _renamed(fields: Mapping[str, Any], taken: Sequence[str]) -> dict[str, Any]:
    return {f"predicted_{name}" if name in taken else name: v for name, v in fields.items()}
