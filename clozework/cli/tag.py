"""`clozework tag`: names, places and whatever else a model finds in texts."""

import dataclasses
from typing import IO

import click

from clozework.cli.files import file_options, run_on_file
from clozework.cli.loading import DTYPE_OPTION, load_task, model_option
from clozework.cli.printing import print_json
from clozework.cli.texts import JSON_OPTION, given_texts, in_parts, text_arguments

__all__ = ["tag"]


@click.command(short_help="Find names, places and the like in texts.")
@text_arguments
@file_options
@model_option("The token classifier.")
@click.option("--threshold", type=float, help="Lowest score of an entity that is given.")
@click.option(
    "--aggregation",
    type=click.Choice(["first", "simple", "words"]),
    default="first",
    show_default=True,
    help="What is one entity: a run of words, a run of tokens, or a word.",
)
@DTYPE_OPTION
@JSON_OPTION
def tag(
    *,
    texts: tuple[str, ...],
    files: tuple[IO[str], ...],
    preset: str,
    threshold: float | None,
    aggregation: str,
    dtype: str | None,
    as_json: bool,
    job: dict | None,
) -> None:
    """Finds entities in texts: `clozework tag -m MODEL "Ada Lovelace went to London."`

    The TEXT `-` stands for the lines of the standard input. Of a file, `--input letters.csv
    --output found.csv`, each row gets its entities.
    """
    given = [] if job else given_texts(texts, files)
    tagger = load_task("TokenClassifier", preset, dtype)
    options = {"threshold": threshold, "aggregation": aggregation}

    def verb(part):
        return tagger.tag(part, **options)

    if job:
        about = {"verb": "tag", "model": preset, "dtype": dtype, **options}
        run_on_file(job, verb, _as_fields, about=about, as_json=as_json)
        return
    results = list(in_parts(verb, given, "Tagging"))
    if as_json:
        print_json(
            [
                {"input": text, **_as_fields(entities)}
                for text, entities in zip(given, results, strict=True)
            ]
        )
        return
    click.echo("\n\n".join(map(_as_text, given, results)))


def _as_fields(entities) -> dict:
    return {"entities": [dataclasses.asdict(entity) for entity in entities]}


def _as_text(text: str, entities) -> str:
    width = max((len(entity.label) for entity in entities), default=0)
    lines = [
        f"  {entity.label.ljust(width)}  {entity.score:6.1%}  {entity.text}" for entity in entities
    ]
    return "\n".join([text, "", *(lines or ["  nothing"])])
