"""`clozework explain`: which words a classifier's answer hangs on."""

import dataclasses
from pathlib import Path

import click

from clozework.cli.loading import load_task, model_option
from clozework.cli.printing import print_json, say

__all__ = ["explain"]


@click.command(short_help="Say which words a class hangs on.")
@click.argument("text")
@model_option("The classifier.")
@click.option("--label", help="The class to be explained; the likeliest by default.")
@click.option("--html", "page", type=click.Path(dir_okay=False), help="Write a page of it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(*, text: str, preset: str, label: str | None, page: str | None, as_json: bool) -> None:
    """Says which words a class hangs on: `clozework explain -m MODEL "A fine film."`

    Each word has a number: by how much the class is less probable without it.
    """
    from clozework.training import explain_class, explanation_page

    found = explain_class(load_task("TextClassifier", preset, None), text, label)
    if page is not None:
        Path(page).write_text(explanation_page(found), encoding="utf-8")
        say(f"{page} was written.")
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    from rich.console import Console
    from rich.text import Text

    most = max(abs(word.weight) for word in found.words) or 1.0
    line, position = Text(), 0
    for word in found.words:
        line.append(found.text[position : word.start])
        share = abs(word.weight) / most
        color = (
            ("blue" if word.weight >= 0 else "dark_orange") if share > _LEAST_SHARE else "default"
        )
        line.append(word.word, style=f"bold {color}" if share > _STRONG_SHARE else color)
        position = word.end
    line.append(found.text[position:])
    console = Console(highlight=False)
    console.print(Text(f"{found.label} {found.probability:.1%}"))
    console.print(line)
    width = max(len(word.word) for word in found.words)
    for word in sorted(found.words, key=lambda word: -abs(word.weight)):
        click.echo(f"  {word.word.ljust(width)}  {word.weight:+.3f}")


# Of the weight of the word that counts most: what is coloured, and what is bold.
_LEAST_SHARE = 0.1
_STRONG_SHARE = 0.5
