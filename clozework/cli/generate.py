"""`clozework generate` and `summarize`: texts that models write."""

from collections.abc import Callable
from typing import IO, Any

import click

from clozework.cli.files import file_options, run_on_file
from clozework.cli.loading import DTYPE_OPTION, load_task, model_option
from clozework.cli.printing import print_json
from clozework.cli.texts import JSON_OPTION, given_texts, in_parts, text_arguments

__all__ = ["generate", "summarize"]

_MODEL_OPTION = model_option("The model.")
_LENGTH_OPTION = click.option(
    "--max-length", type=click.IntRange(min=1), help="Most tokens of a text; see `generate`."
)
_SAMPLER_OPTION = click.option(
    "--sampler",
    type=click.Choice(["greedy", "top_k", "top_p", "random", "beam", "contrastive"]),
    help="How tokens are chosen; as the model is meant to by default.",
)


@click.command(short_help="Go on with texts.")
@text_arguments
@file_options
@_MODEL_OPTION
@_LENGTH_OPTION
@_SAMPLER_OPTION
@DTYPE_OPTION
@JSON_OPTION
def generate(
    *,
    texts: tuple[str, ...],
    files: tuple[IO[str], ...],
    preset: str,
    max_length: int | None,
    sampler: str | None,
    dtype: str | None,
    as_json: bool,
    job: dict | None,
) -> None:
    """Goes on with texts: `clozework generate -m MODEL "The sea is"`

    The TEXT `-` stands for the lines of the standard input. Of a file, `--input prompts.csv
    --output texts.csv`, each row gets its text.
    """
    given = [] if job else given_texts(texts, files)
    model = load_task("CausalLM", preset, dtype)
    if sampler is not None:
        model.compile(sampler=sampler)
    about = {"verb": "generate", "max_length": max_length, "sampler": sampler}
    _write(
        lambda part: model.generate(part, max_length=max_length),
        "generated",
        given,
        job,
        about={**about, "model": preset, "dtype": dtype},
        as_json=as_json,
    )


@click.command(short_help="Write summaries of texts.")
@text_arguments
@file_options
@_MODEL_OPTION
@_LENGTH_OPTION
@_SAMPLER_OPTION
@DTYPE_OPTION
@JSON_OPTION
def summarize(
    *,
    texts: tuple[str, ...],
    files: tuple[IO[str], ...],
    preset: str,
    max_length: int | None,
    sampler: str | None,
    dtype: str | None,
    as_json: bool,
    job: dict | None,
) -> None:
    """Writes summaries: `clozework summarize -m MODEL - < report.txt`

    The TEXT `-` stands for the lines of the standard input, each a text. Of a file, `--input
    reports.csv --output summaries.csv`, each row gets its summary.
    """
    given = [] if job else given_texts(texts, files)
    model = load_task("Seq2SeqLM", preset, dtype)
    if sampler is not None:
        model.compile(sampler=sampler)
    about = {"verb": "summarize", "max_length": max_length, "sampler": sampler}
    _write(
        lambda part: model.summarize(part, max_length=max_length),
        "summary",
        given,
        job,
        about={**about, "model": preset, "dtype": dtype},
        as_json=as_json,
    )


def _write(
    verb: Callable[[list[str]], list[str]],
    field: str,
    given: list[str],
    job: dict | None,
    *,
    about: dict[str, Any],
    as_json: bool,
) -> None:
    """Writes what a verb makes of texts: to a file for a job, else to the standard output."""
    if job:
        run_on_file(job, verb, lambda text: {field: text}, about=about, as_json=as_json)
        return
    results = list(in_parts(verb, given, "Writing"))
    if as_json:
        print_json([{"input": text, field: one} for text, one in zip(given, results, strict=True)])
        return
    click.echo("\n\n".join(results))
