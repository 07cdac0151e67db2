"""How results, tables, sizes and progress are printed."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click

__all__ = [
    "as_size",
    "as_time",
    "print_json",
    "print_json_list",
    "print_pairs",
    "print_table",
    "reading",
    "say",
]

# Tables go to files and pipes whole; a terminal wraps them.
_WIDTH_OF_FILES = 1000


def say(message: str) -> None:
    """Prints a remark for people to stderr."""
    click.echo(message, err=True)


def print_json(content: Any) -> None:
    """Prints a value as JSON to stdout."""
    click.echo(json.dumps(content, indent=2, ensure_ascii=False))


def print_json_list(items: Iterable[Any]) -> None:
    """Prints values as a list of JSON to stdout, each when it is there; see `print_json`.

    An error in the midst ends the list behind what was there before.
    """
    opening = "["
    try:
        for item in items:
            lines = json.dumps(item, indent=2, ensure_ascii=False).split("\n")
            click.echo("\n".join([opening, *(f"  {line}" for line in lines)]), nl=False)
            opening = ","
    finally:
        if opening == ",":
            click.echo("\n]")
    if opening == "[":
        click.echo("[]")


def print_table(rows: Sequence[Sequence[str]], *, header: Sequence[str], numbers: int = -1) -> None:
    """Prints a table to stdout.

    Args:
        rows: The cells.
        header: Names of the columns.
        numbers: The column that is flush right.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD if _console().is_terminal else None, pad_edge=False)
    for i, name in enumerate(header):
        table.add_column(
            name, justify="right" if i == numbers else "left", no_wrap=i < len(header) - 1
        )
    for row in rows:
        table.add_row(*map(Text, row))
    _print(table)


def print_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    """Prints names and values in two columns to stdout."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    for name, value in pairs:
        table.add_row(Text(name, style="bold"), Text(value))
    _print(table)


def as_time(seconds: float) -> str:
    """Writes a time for people.

    >>> as_time(75), as_time(3700)
    ('1:15', '1:01:40')
    """
    if seconds == float("inf"):
        return "?"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def as_size(num_bytes: int) -> str:
    """Writes a number of bytes for people.

    >>> as_size(8979248)
    '9.0 MB'
    """
    size = float(num_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{num_bytes} B" if unit == "B" else f"{size:.1f} {unit}"


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Shows on a terminal, on stderr, that something takes its time."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield


@contextlib.contextmanager
def reading(preset: str, what: str) -> Iterator[None]:
    """Shows that a preset is read; where it may be fetched, leaves the terminal to the bars of the
    clients that fetch it, which show themselves on a terminal alone."""
    from pathlib import Path

    from clozework.presets import built_in_preset

    built_in = built_in_preset(preset)
    is_here = built_in[1].embedded if built_in else Path(preset).expanduser().is_dir()
    with working(f"{what} {preset}") if is_here else contextlib.nullcontext():
        yield


def _console():
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH_OF_FILES)


def _print(renderable) -> None:
    console = _console()
    with console.capture() as capture:
        console.print(renderable)
    # Rich fills cells with spaces up to the width; nobody wants these in a file.
    click.echo("\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n")))
