"""`clozework rerank`: which texts answer a query best."""

import dataclasses
from typing import IO

import click

from clozework.cli.loading import DTYPE_OPTION, load_task, model_option
from clozework.cli.printing import print_json
from clozework.cli.texts import JSON_OPTION, given_texts, text_arguments

__all__ = ["rerank"]


@click.command(short_help="Order texts by how well they fit a query.")
@click.argument("query")
@text_arguments
@model_option("The reranker.")
@click.option("--top-k", type=click.IntRange(min=1), help="How many texts to give.")
@DTYPE_OPTION
@JSON_OPTION
def rerank(
    *,
    query: str,
    texts: tuple[str, ...],
    files: tuple[IO[str], ...],
    preset: str,
    top_k: int | None,
    dtype: str | None,
    as_json: bool,
) -> None:
    """Orders texts: `clozework rerank -m MODEL "who made heaven?" --file verses.txt`

    MODEL is a classifier of pairs with one class or two.
    """
    given = given_texts(texts, files)
    ranked = load_task("TextClassifier", preset, dtype).rerank(query, given, top_k=top_k)
    if as_json:
        print_json([dataclasses.asdict(one) for one in ranked])
        return
    for one in ranked:
        click.echo(f"{one.score:8.4f}  {one.text}")
