"""`clozework classify`: which classes texts are of."""

import dataclasses
from typing import IO

import click

from clozework.cli.files import file_options, run_on_file
from clozework.cli.loading import DTYPE_OPTION, load_task, model_option
from clozework.cli.printing import print_json
from clozework.cli.texts import JSON_OPTION, given_texts, in_parts, text_arguments

__all__ = ["classify"]


@click.command(short_help="Say which classes texts are of.")
@text_arguments
@file_options
@model_option("The classifier.")
@click.option(
    "--top-k", type=click.IntRange(min=1), help="How many classes to give; all by default."
)
@click.option("--threshold", type=float, help="Lowest probability of a class that is given.")
@click.option("--chunk", is_flag=True, help="Read long texts in parts instead of cutting them.")
@DTYPE_OPTION
@JSON_OPTION
def classify(
    *,
    texts: tuple[str, ...],
    files: tuple[IO[str], ...],
    preset: str,
    top_k: int | None,
    threshold: float | None,
    chunk: bool,
    dtype: str | None,
    as_json: bool,
    job: dict | None,
) -> None:
    """Says which classes texts are of: `clozework classify -m MODEL "A fine film."`

    The TEXT `-` stands for the lines of the standard input. Of a file, `--input reviews.csv
    --output classes.csv`, each row gets its likeliest class; in a file of JSON all that are asked
    for.
    """
    given = [] if job else given_texts(texts, files)
    classifier = load_task("TextClassifier", preset, dtype)
    options = {"top_k": top_k, "threshold": threshold, "long_texts": "chunk" if chunk else "cut"}

    def verb(part):
        return classifier.classify(part, **options)

    if job:
        about = {"verb": "classify", "model": preset, "dtype": dtype, **options}
        is_table = not job["target"].endswith(".jsonl")
        as_fields = _as_columns if is_table else _as_fields
        run_on_file(job, verb, as_fields, about=about, as_json=as_json)
        return
    results = list(in_parts(verb, given, "Reading"))
    if as_json:
        print_json(
            [
                {"input": text, **_as_fields(labels)}
                for text, labels in zip(given, results, strict=True)
            ]
        )
        return
    click.echo("\n\n".join(map(_as_text, given, results)))


def _as_fields(labels) -> dict:
    return {"labels": [dataclasses.asdict(label) for label in labels]}


def _as_columns(labels) -> dict:
    likeliest = labels[0] if labels else None
    return {
        "label": likeliest.label if likeliest else None,
        "probability": likeliest.probability if likeliest else None,
    }


def _as_text(text: str, labels) -> str:
    width = max((len(one.label) for one in labels), default=0)
    lines = [f"  {one.label.ljust(width)}  {one.probability:6.1%}" for one in labels]
    return "\n".join([text, "", *(lines or ["  no class"])])
