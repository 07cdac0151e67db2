"""The texts that a command is about: arguments, the standard input, files; and their progress."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import IO, Any

import click

__all__ = ["JSON_OPTION", "given_texts", "in_parts", "text_arguments"]

JSON_OPTION = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON: a list with one object a text."
)
# Progress moves on after so many texts.
_TEXTS_AT_ONCE = 256


def text_arguments(command: Callable) -> Callable:
    """Adds `TEXT ...` and `--file` to a command, which gets them as `texts` and `files`."""
    command = click.option(
        "--file", "files", type=click.File(encoding="utf-8"), multiple=True, help="One text a line."
    )(command)
    return click.argument("texts", nargs=-1, metavar="TEXT...")(command)


def given_texts(texts: Sequence[str], files: Sequence[IO[str]]) -> Iterable[str]:
    """Returns the texts: `-` among them stands for the lines of the standard input.

    Those of the standard input and of files are read when they are asked for.

    Raises:
        click.UsageError: If there are none.
    """
    if texts.count("-") > 1:
        raise click.UsageError("The standard input can be read once; give `-` once.")
    if texts and not files and "-" not in texts:
        return list(texts)
    given = chain(_expanded(texts), (line for file in files for line in _lines(file)))
    first = next(given, None)
    if first is None:
        raise click.UsageError("Give a TEXT, `-` for the standard input, or --file FILE.")
    return chain([first], given)


def in_parts(
    verb: Callable[[list[str]], Sequence], texts: Iterable[str], what: str
) -> Iterator[tuple[str, Any]]:
    """Yields each text and what a verb says of it, and shows on a terminal how far it is."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    total = len(texts) if isinstance(texts, Sequence) else None
    # What is printed on a terminal as it comes shows by itself how far it is.
    is_printed = sys.stdout.isatty()
    is_many = total is not None and total > _TEXTS_AT_ONCE
    is_shown = console.is_terminal and is_many and not is_printed
    with Progress(console=console, transient=True, disable=not is_shown) as progress:
        bar = progress.add_task(what, total=total)
        texts = iter(texts)
        while part := list(islice(texts, _TEXTS_AT_ONCE)):
            results = verb(part)
            progress.advance(bar, len(part))
            yield from zip(part, results, strict=True)


def _expanded(texts: Sequence[str]) -> Iterator[str]:
    for text in texts:
        if text == "-":
            with click.open_file("-", encoding="utf-8") as stream:
                yield from _lines(stream)
        else:
            yield text


def _lines(stream: IO[str]) -> Iterator[str]:
    try:
        for line in stream:
            yield line.removesuffix("\n")
    except UnicodeDecodeError as error:
        raise click.ClickException(
            f"{stream.name} is not text in UTF-8 ({error}). Convert it to UTF-8."
        ) from error
