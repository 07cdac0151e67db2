"""`clozework classify`: which classes texts are of."""

import dataclasses

import click

from clozework.cli.requests import Request, request_options

__all__ = ["classify"]


@click.command(short_help="Say which classes texts are of.")
@request_options("The classifier.")
@click.option(
    "--top-k", type=click.IntRange(min=1), help="How many classes to give; all by default."
)
@click.option("--threshold", type=float, help="Lowest probability of a class that is given.")
@click.option("--chunk", is_flag=True, help="Read long texts in parts instead of cutting them.")
def classify(request: Request, *, top_k: int | None, threshold: float | None, chunk: bool) -> None:
    """Says which classes texts are of: `clozework classify -m MODEL "A fine film."`

    The TEXT `-` stands for the lines of the standard input. Of a file, `--input reviews.csv
    --output classes.csv`, each row gets its likeliest class; in a file of JSON all that are asked
    for.
    """
    classifier = request.model("TextClassifier")
    request.run(
        classifier.classify,
        as_fields=_as_fields,
        as_columns=_as_columns,
        show=_as_text,
        doing="Reading",
        top_k=top_k,
        threshold=threshold,
        long_texts="chunk" if chunk else "cut",
    )


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
