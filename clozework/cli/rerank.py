"""`clozework rerank`: which texts answer a query best."""

import dataclasses

import click

from clozework.cli.printing import print_json
from clozework.cli.requests import Request, request_options

__all__ = ["rerank"]


@click.command(short_help="Order texts by how well they fit a query.")
@click.argument("query")
@request_options("The reranker.", reads_files=False)
@click.option("--top-k", type=click.IntRange(min=1), help="How many texts to give.")
def rerank(request: Request, *, query: str, top_k: int | None) -> None:
    """Orders texts: `clozework rerank -m MODEL "who made heaven?" --file verses.txt`

    MODEL is a classifier of pairs with one class or two.
    """
    ranked = request.model("TextClassifier").rerank(query, list(request.texts), top_k=top_k)
    if request.as_json:
        print_json([dataclasses.asdict(one) for one in ranked])
        return
    for one in ranked:
        click.echo(f"{one.score:8.4f}  {one.text}")
