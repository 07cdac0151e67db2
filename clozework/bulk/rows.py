"""Rows of files that may be larger than memory: tables, lines of JSON or of text."""

import csv
import importlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from clozework.errors import InputError, MissingPackageError

__all__ = ["Row", "RowFile", "open_rows", "text_column"]

_DELIMITERS = ",;\t|"
# As long as a text may be, and not as long as a file whose quote is never closed.
_LONGEST_FIELD = 64 * 2**20
_ROWS_OF_PARQUET = 1024


@dataclass(frozen=True)
class Row:
    """One row of a file.

    Attributes:
        number: From 1 on, without the header.
        values: By the name of the column; what could be read, if there is a problem.
        problem: Why the row cannot be used; empty if it can.
    """

    number: int
    values: Mapping[str, Any]
    problem: str = ""


class RowFile(Protocol):
    """A file of rows.

    Attributes:
        path: Where it is.
        columns: Names of the columns; of JSON Lines those of the first row.
        num_rows: How many rows there are; None where that takes reading them.
    """

    path: Path
    columns: tuple[str, ...]
    num_rows: int | None

    def rows(self) -> Iterator[Row]:
        """Yields the rows, each time from the beginning."""
        ...

    def share_read(self) -> float:
        """Returns how much of the file has been read, from 0 to 1."""
        ...


def open_rows(path) -> RowFile:
    """Opens a file by the end of its name: `.csv`, `.tsv`, `.jsonl`, `.txt`, `.parquet`, `.arrow`.

    CSV is UTF-8 with a header, separated by commas, semicolons, tabs or bars; whichever the header
    has most of. A line of JSON is an object, or a string, which is a text.

    Raises:
        InputError: If there is no such file, its kind is unknown, or it has no row.
        MissingPackageError: If Parquet or Arrow is asked for without pyarrow.

    Example:
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = Path(directory, "reviews.csv")
    ...     _ = path.write_text("text;stars\\nA fine film.;5\\n")
    ...     [dict(row.values) for row in open_rows(path).rows()]
    [{'text': 'A fine film.', 'stars': '5'}]
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no file {str(path)!r}.")
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise InputError(
            f"{path.name!r} is of no kind that can be read. Its name has to end with one of: "
            f"{', '.join(_KINDS)}."
        )
    return kind(path)


def text_column(file: RowFile, asked: str | None) -> str:
    """Returns the column that holds the texts: the one asked for, `text`, or the only one.

    Raises:
        InputError: If there is no such column, or it is not clear which one is meant.
    """
    listed = ", ".join(map(repr, file.columns))
    if asked is not None:
        if asked not in file.columns:
            raise InputError(f"{file.path.name!r} has no column {asked!r}. It has: {listed}.")
        return asked
    if "text" in file.columns:
        return "text"
    if len(file.columns) == 1:
        return file.columns[0]
    raise InputError(
        f"{file.path.name!r} has no column 'text'. Say which one holds the texts: {listed}."
    )


class _Lines:
    """What files of lines have in common.

    Bytes that are no UTF-8 become lone surrogates, by which the row they stand in is known.
    """

    num_rows: int | None = None

    def __init__(self, path: Path):
        self.path = path
        self._size = max(path.stat().st_size, 1)
        self._raw: io.BufferedReader | None = None
        self.columns = self._columns()
        self._raw = None

    def share_read(self) -> float:
        if self._raw is None:
            return 0.0
        return 1.0 if self._raw.closed else min(self._raw.tell() / self._size, 1.0)

    def _open(self) -> io.TextIOWrapper:
        self._raw = self.path.open("rb")
        return io.TextIOWrapper(
            self._raw, encoding="utf-8-sig", errors="surrogateescape", newline=""
        )

    def _columns(self) -> tuple[str, ...]:
        first = next(self.rows(), None)
        if first is None:
            raise InputError(f"{self.path.name!r} has no rows.")
        return tuple(first.values)

    def rows(self) -> Iterator[Row]:
        raise NotImplementedError


class _PlainLines(_Lines):
    def _columns(self) -> tuple[str, ...]:
        super()._columns()
        return ("text",)

    def rows(self) -> Iterator[Row]:
        with self._open() as stream:
            for number, line in enumerate(stream, start=1):
                yield _checked(Row(number, {"text": line.rstrip("\r\n")}))


class _JsonLines(_Lines):
    def rows(self) -> Iterator[Row]:
        number = 0
        with self._open() as stream:
            for line in stream:
                if not line.strip():
                    continue
                number += 1
                yield _checked(_row_of_json(number, line))


class _SeparatedValues(_Lines):
    def __init__(self, path: Path):
        self._delimiter = "\t" if path.suffix.lower() == ".tsv" else ""
        super().__init__(path)

    def _columns(self) -> tuple[str, ...]:
        with self._open() as stream:
            header = stream.readline()
        if not self._delimiter:
            self._delimiter = max(_DELIMITERS, key=header.count)
        names = next(self._reader(iter([header])), [])
        _check_header(self.path, names)
        self.columns = tuple(names)
        super()._columns()
        return self.columns

    def rows(self) -> Iterator[Row]:
        with self._open() as stream:
            reader = self._reader(stream)
            next(reader, None)
            number = 0
            while True:
                number += 1
                try:
                    fields = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    raise InputError(
                        f"{self.path.name!r} cannot be read from row {number} on: {error}. Is a "
                        f"quotation mark never closed?"
                    ) from error
                if not fields:
                    number -= 1
                    continue
                yield _checked(_row_of_fields(number, self.columns, fields))

    def _reader(self, lines: Iterator[str]):
        csv.field_size_limit(_LONGEST_FIELD)
        return csv.reader(lines, delimiter=self._delimiter, strict=True)


class _ArrowTable:
    """Parquet, or Arrow's own format, both by pyarrow."""

    def __init__(self, path: Path):
        self.path = path
        self._done = 0
        self._is_parquet = path.suffix.lower() == ".parquet"
        try:
            self._kind = importlib.import_module(
                "pyarrow.parquet" if self._is_parquet else "pyarrow.ipc"
            )
        except ImportError as error:
            raise MissingPackageError(
                f"{path.name!r} is read by pyarrow. Install it: pip install pyarrow"
            ) from error
        self.columns, self.num_rows = self._described()
        if not self.num_rows:
            raise InputError(f"{path.name!r} has no rows.")

    def rows(self) -> Iterator[Row]:
        number = 0
        for batch in self._batches():
            for values in batch.to_pylist():
                number += 1
                self._done = number
                yield Row(number, values)

    def share_read(self) -> float:
        return self._done / self.num_rows

    def _described(self) -> tuple[tuple[str, ...], int]:
        arrow = importlib.import_module("pyarrow")
        try:
            if self._is_parquet:
                with self._kind.ParquetFile(self.path) as file:
                    return tuple(file.schema_arrow.names), file.metadata.num_rows
            with self._opened() as file:
                return tuple(file.schema.names), sum(len(batch) for batch in _each(file))
        except arrow.ArrowInvalid as error:
            raise InputError(
                f"{self.path.name!r} is damaged, or of another kind: {error}"
            ) from error

    def _batches(self) -> Iterator[Any]:
        if self._is_parquet:
            with self._kind.ParquetFile(self.path) as file:
                yield from file.iter_batches(_ROWS_OF_PARQUET)
        else:
            with self._opened() as file:
                yield from _each(file)

    def _opened(self):
        """Returns the file, or the stream: Arrow writes both, and `datasets` streams."""
        with self.path.open("rb") as stream:
            is_file = stream.read(6) == b"ARROW1"
        opened = self._kind.open_file if is_file else self._kind.open_stream
        return opened(importlib.import_module("pyarrow").memory_map(str(self.path)))


def _each(file) -> Iterator[Any]:
    """Yields the batches of an Arrow file, or of a stream."""
    if hasattr(file, "num_record_batches"):
        return (file.get_batch(i) for i in range(file.num_record_batches))
    return iter(file)


def _row_of_json(number: int, line: str) -> Row:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Row(number, {"line": line.rstrip("\r\n")}, f"it is no JSON: {error}")
    if isinstance(values, str):
        values = {"text": values}
    if not isinstance(values, dict):
        return Row(number, {"line": line.rstrip("\r\n")}, "it is no object, and no text")
    return Row(number, values)


def _row_of_fields(number: int, columns: tuple[str, ...], fields: list[str]) -> Row:
    if len(fields) != len(columns):
        counts = f"it has {len(fields)} fields, but the header has {len(columns)}"
        return Row(number, {"fields": fields}, counts)
    return Row(number, dict(zip(columns, fields, strict=True)))


def _checked(row: Row) -> Row:
    """Returns the row, with a problem where bytes of it are no UTF-8."""
    texts = [value for value in row.values.values() if isinstance(value, str)]
    if all(map(_is_unicode, texts)):
        return row
    values = {name: _replaced(value) for name, value in row.values.items()}
    return Row(row.number, values, row.problem or "it is not in UTF-8")


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _replaced(value):
    if not isinstance(value, str):
        return value
    return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _check_header(path: Path, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or not any(names):
        raise InputError(f"{path.name!r} has no header: its first line is to name the columns.")
    if twice:
        raise InputError(
            f"{path.name!r} names a column twice: {', '.join(map(repr, twice))}. Rename one."
        )


_KINDS: Mapping[str, Any] = {
    ".csv": _SeparatedValues,
    ".tsv": _SeparatedValues,
    ".jsonl": _JsonLines,
    ".ndjson": _JsonLines,
    ".txt": _PlainLines,
    ".parquet": _ArrowTable,
    ".arrow": _ArrowTable,
}
