"""`clozework tag`: names, places and whatever else a model finds in texts."""

import dataclasses

import click

from clozework.cli.requests import Request, request_options

__all__ = ["tag"]


@click.command(short_help="Find names, places and the like in texts.")
@request_options("The token classifier.")
@click.option("--threshold", type=float, help="Lowest score of an entity that is given.")
@click.option(
    "--aggregation",
    type=click.Choice(["first", "simple", "words"]),
    default="first",
    show_default=True,
    help="What is one entity: a run of words, a run of tokens, or a word.",
)
def tag(request: Request, *, threshold: float | None, aggregation: str) -> None:
    """Finds entities in texts: `clozework tag -m MODEL "Ada Lovelace went to London."`

    The TEXT `-` stands for the lines of the standard input. Of a file, `--input letters.csv
    --output found.csv`, each row gets its entities.
    """
    tagger = request.model("TokenClassifier")
    request.run(
        tagger.tag,
        as_fields=_as_fields,
        show=_as_text,
        doing="Tagging",
        threshold=threshold,
        aggregation=aggregation,
    )


def _as_fields(entities) -> dict:
    return {"entities": [dataclasses.asdict(entity) for entity in entities]}


def _as_text(text: str, entities) -> str:
    width = max((len(entity.label) for entity in entities), default=0)
    lines = [
        f"  {entity.label.ljust(width)}  {entity.score:6.1%}  {entity.text}" for entity in entities
    ]
    return "\n".join([text, "", *(lines or ["  nothing"])])
