"""`clozework generate` and `summarize`: texts that models write."""

from collections.abc import Callable
from typing import Any

import click

from clozework.cli.requests import Request, request_options

__all__ = ["generate", "summarize"]

_LENGTH_OPTION = click.option(
    "--max-length", type=click.IntRange(min=1), help="Most tokens of a text; see `generate`."
)
_SAMPLER_OPTION = click.option(
    "--sampler",
    type=click.Choice(["greedy", "top_k", "top_p", "random", "beam", "contrastive"]),
    help="How tokens are chosen; as the model is meant to by default.",
)


@click.command(short_help="Go on with texts.")
@request_options("The model.")
@_LENGTH_OPTION
@_SAMPLER_OPTION
def generate(request: Request, *, max_length: int | None, sampler: str | None) -> None:
    """Goes on with texts: `clozework generate -m MODEL "The sea is"`

    The TEXT `-` stands for the lines of the standard input. Of a file, `--input prompts.csv
    --output texts.csv`, each row gets its text.
    """
    _write(
        request,
        "CausalLM",
        lambda model: model.generate,
        field="generated",
        doing="Writing",
        sampler=sampler,
        max_length=max_length,
    )


@click.command(short_help="Write summaries of texts.")
@request_options("The model.")
@_LENGTH_OPTION
@_SAMPLER_OPTION
def summarize(request: Request, *, max_length: int | None, sampler: str | None) -> None:
    """Writes summaries: `clozework summarize -m MODEL - < report.txt`

    The TEXT `-` stands for the lines of the standard input, each a text. Of a file, `--input
    reports.csv --output summaries.csv`, each row gets its summary.
    """
    _write(
        request,
        "Seq2SeqLM",
        lambda model: model.summarize,
        field="summary",
        doing="Summarising",
        sampler=sampler,
        max_length=max_length,
    )


def _write(
    request: Request,
    kind: str,
    verb_of: Callable[[Any], Callable],
    *,
    field: str,
    doing: str,
    sampler: str | None,
    max_length: int | None,
) -> None:
    """Prints or stores, as `field`, what the verb of a model writes for each text."""
    model = request.model(kind)
    if sampler is not None:
        model.compile(sampler=sampler)
    request.run(
        verb_of(model),
        as_fields=lambda written: {field: written},
        show=lambda text, written: written,
        doing=doing,
        made_with={"sampler": sampler},
        max_length=max_length,
    )
