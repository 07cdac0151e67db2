"""Results that are written while they are made, and can be gone on with after an interrupt.

Rows are appended to a file with another name, and a small file beside it says how much of that is
whole. What stands behind is cut off when the job goes on.
"""

import csv
import importlib
import io
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clozework.errors import ConfigError, InputError, MissingPackageError

__all__ = ["Results"]

_ROWS_OF_PARQUET = 1024
# As much work is lost at a crash; to wait for the disk after each part takes a tenth of the time.
_SECONDS_BETWEEN = 1.0


@dataclass(frozen=True)
class _Whole:
    """What of the files is whole; replaced at once, so that it never tells half of a step.

    Attributes:
        num_read, num_written, num_rejected: Rows.
        results_size, rejected_size: Bytes of both files.
        columns: Of a table; none before its first row.
    """

    num_read: int = 0
    num_written: int = 0
    num_rejected: int = 0
    results_size: int = 0
    rejected_size: int = 0
    columns: tuple[str, ...] = ()


class Results:
    """The rows of one job on their way to a file.

    Args:
        path: Where they are to be in the end: `.jsonl`, `.csv`, `.tsv` or `.parquet`.
        description: What the job is about: it goes on only where it is the same.
        is_resumed: Whether to go on with what an earlier run left, if there is anything.

    Attributes:
        rejected: Where rows stand that could not be used; there is no such file if all could.

    Raises:
        ConfigError: If something is there already, or an earlier run was about something else.
        MissingPackageError: If Parquet is asked for without pyarrow.
    """

    def __init__(self, path, description: Mapping[str, Any], *, is_resumed: bool):
        self.path = Path(path)
        self._kind = self.path.suffix.lower()
        if self._kind not in _KINDS:
            raise ConfigError(
                f"{self.path.name!r} is of no kind that can be written. Its name has to end with "
                f"one of: {', '.join(_KINDS)}."
            )
        if self._kind == ".parquet":
            _arrow()
        self._description = json.loads(json.dumps(description))
        self._partial = self.path.with_name(f"{self.path.name}.partial")
        self.rejected = self.path.with_name(f"{self.path.name}.rejected.jsonl")
        self._journal = self.path.with_name(f"{self.path.name}.journal")
        self._whole = _Whole()
        self._kept = time.monotonic()
        if is_resumed and self._journal.exists():
            self._go_on()
        else:
            self._begin(is_resumed)
        sizes = (self._whole.results_size, self._whole.rejected_size)
        self._streams = (self._partial.open("r+b"), self.rejected.open("r+b"))
        for stream, size in zip(self._streams, sizes, strict=True):
            stream.truncate(size)
            stream.seek(size)

    @property
    def num_read(self) -> int:
        """Rows of the source that are done."""
        return self._whole.num_read

    @property
    def num_written(self) -> int:
        """Rows with a result."""
        return self._whole.num_written

    @property
    def num_rejected(self) -> int:
        """Rows that could not be used."""
        return self._whole.num_rejected

    def add(self, rows: Sequence[Mapping[str, Any]], rejected: Sequence[Mapping[str, Any]]) -> None:
        """Writes the results of some more rows of the source, whole or not at all."""
        done = self._whole
        columns = done.columns or tuple(rows[0] if rows else ())
        encoded = (self._encoded(rows, columns), _as_json_lines(rejected))
        for stream, content in zip(self._streams, encoded, strict=True):
            stream.write(content)
        self._whole = _Whole(
            num_read=done.num_read + len(rows) + len(rejected),
            num_written=done.num_written + len(rows),
            num_rejected=done.num_rejected + len(rejected),
            results_size=done.results_size + len(encoded[0]),
            rejected_size=done.rejected_size + len(encoded[1]),
            columns=columns,
        )
        if time.monotonic() - self._kept >= _SECONDS_BETWEEN:
            self._keep()

    def finish(self) -> None:
        """Gives the file its name, once all rows are in it."""
        self.close()
        finished = self._partial
        if self._kind == ".parquet":
            finished = self._partial.with_suffix(".whole")
            _write_parquet(finished, self._partial)
        finished.replace(self.path)
        self._tidy()

    def _tidy(self) -> None:
        """Removes what a job leaves that is done; the journal, by which that is known, last."""
        self._partial.unlink(missing_ok=True)
        if not self.num_rejected:
            self.rejected.unlink(missing_ok=True)
        self._journal.unlink()

    def close(self) -> None:
        """Closes the files; the job can be gone on with."""
        if not self._streams[0].closed:
            self._keep()
        for stream in self._streams:
            stream.close()

    def __enter__(self) -> "Results":
        return self

    def __exit__(self, *_error) -> None:
        self.close()

    def _keep(self) -> None:
        """Puts what was added where no crash reaches it."""
        for stream in self._streams:
            stream.flush()
            os.fsync(stream.fileno())
        self._write_journal()
        self._kept = time.monotonic()

    def _begin(self, is_resumed: bool) -> None:
        if self.path.exists():
            if is_resumed:
                raise self._is_done()
            raise ConfigError(
                f"{str(self.path)!r} is there already. Delete it, or name another file."
            )
        if self._journal.exists():
            raise ConfigError(
                f"{str(self._partial)!r} was left by an earlier run. Go on with it (`--resume`), "
                f"or delete it and {self._journal.name!r}."
            )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._partial.write_bytes(b"")
        self.rejected.write_bytes(b"")
        self._write_journal()

    def _go_on(self) -> None:
        try:
            journal = json.loads(self._journal.read_text("utf-8"))
            description = dict(journal["description"])
            self._whole = _Whole(**{**journal["whole"], "columns": (*journal["whole"]["columns"],)})
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{str(self._journal)!r} is damaged. Delete it and begin anew."
            ) from error
        changed = sorted(
            name
            for name in {*description, *self._description}
            if description.get(name) != self._description.get(name)
        )
        if changed:
            told = ", ".join(f"{name} was {description.get(name)!r}" for name in changed)
            raise ConfigError(
                f"The earlier run that left {str(self._partial)!r} was another one: {told}. Repeat "
                f"it as it was, or delete {self._journal.name!r} and begin anew."
            )
        if self.path.exists():
            # The last run was killed when it had given the file its name.
            self._tidy()
            raise self._is_done()
        sizes = {
            self._partial: self._whole.results_size,
            self.rejected: self._whole.rejected_size,
        }
        for file, size in sizes.items():
            if not file.exists() or file.stat().st_size < size:
                raise InputError(
                    f"{str(file)!r} has lost what an earlier run wrote. Delete "
                    f"{self._journal.name!r} and begin anew."
                )

    def _is_done(self) -> ConfigError:
        return ConfigError(
            f"{str(self.path)!r} is there already; the job is done. Delete it, or name another "
            f"file."
        )

    def _write_journal(self) -> None:
        content = {
            "description": self._description,
            "whole": asdict(self._whole),
        }
        new = self._journal.with_suffix(".new")
        with new.open("w", encoding="utf-8") as stream:
            json.dump(content, stream)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(self._journal)

    def _encoded(self, rows: Sequence[Mapping[str, Any]], columns: tuple[str, ...]) -> bytes:
        if self._kind in (".jsonl", ".parquet"):
            return _as_json_lines(rows)
        stream = io.StringIO(newline="")
        delimiter = "\t" if self._kind == ".tsv" else ","
        writer = csv.DictWriter(stream, columns, delimiter=delimiter, lineterminator="\n")
        if rows and not self._whole.columns:
            writer.writeheader()
        writer.writerows({name: _as_cell(value) for name, value in row.items()} for row in rows)
        return stream.getvalue().encode("utf-8")


def _as_json_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    lines = (json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
    return "".join(lines).encode("utf-8")


def _as_cell(value):
    """Returns a value for a table: lists and the like as JSON."""
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return value


def _write_parquet(path: Path, lines: Path) -> None:
    """Writes rows of JSON as Parquet, a part at a time."""
    arrow, parquet = _arrow()
    writer = None
    try:
        for part in _parts(lines):
            table = arrow.Table.from_pylist(part, schema=None if writer is None else writer.schema)
            if writer is None:
                writer = parquet.ParquetWriter(path, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def _parts(lines: Path) -> Iterator[list[dict]]:
    part: list[dict] = []
    with lines.open(encoding="utf-8") as stream:
        for line in stream:
            part.append(json.loads(line))
            if len(part) == _ROWS_OF_PARQUET:
                yield part
                part = []
    if part:
        yield part


def _arrow():
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingPackageError(
            "Parquet is written by pyarrow. Install it: pip install pyarrow"
        ) from error


_KINDS = (".jsonl", ".csv", ".tsv", ".parquet")
