"""The texts that a command is about: arguments, the standard input, files; and their progress."""

from collections.abc import Callable, Iterator, Sequence
from typing import IO

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


def given_texts(texts: Sequence[str], files: Sequence[IO[str]]) -> list[str]:
    """Returns the texts: `-` among them stands for the lines of the standard input.

    Raises:
        click.UsageError: If there are none.
    """
    given = [*_expanded(texts), *(line for file in files for line in _lines(file))]
    if not given:
        raise click.UsageError("Give a TEXT, `-` for the standard input, or --file FILE.")
    return given


def in_parts(verb: Callable[[list[str]], Sequence], texts: Sequence[str], what: str) -> Iterator:
    """Yields what a verb says of each text, and shows on a terminal how far it is."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    is_shown = console.is_terminal and len(texts) > _TEXTS_AT_ONCE
    with Progress(console=console, transient=True, disable=not is_shown) as progress:
        bar = progress.add_task(what, total=len(texts))
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            results = verb(list(texts[start : start + _TEXTS_AT_ONCE]))
            progress.advance(bar, len(results))
            yield from results


def _expanded(texts: Sequence[str]) -> Iterator[str]:
    if texts.count("-") > 1:
        raise click.UsageError("The standard input can be read once; give `-` once.")
    for text in texts:
        if text == "-":
            with click.open_file("-", encoding="utf-8") as stream:
                yield from _lines(stream)
        else:
            yield text


def _lines(stream: IO[str]) -> list[str]:
    try:
        content = stream.read()
    except UnicodeDecodeError as error:
        raise click.ClickException(
            f"{stream.name} is not text in UTF-8 ({error}). Convert it to UTF-8."
        ) from error
    return content.removesuffix("\n").split("\n") if content else []
