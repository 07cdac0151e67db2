"""`clozework embed`: one vector for each text."""

from typing import IO

import click

from clozework.cli.files import file_options, run_on_file
from clozework.cli.loading import DTYPE_OPTION, load_task, model_option
from clozework.cli.printing import print_json
from clozework.cli.texts import JSON_OPTION, given_texts, in_parts, text_arguments

__all__ = ["embed"]

_DEFAULT_PRESET = "deberta_v3_tiny_en_demo"


@click.command(short_help="Give one vector for each text.")
@text_arguments
@file_options
@model_option("The model.", default=_DEFAULT_PRESET)
@click.option("--prompt-name", metavar="NAME", help="Which of the model's prompts to put first.")
@click.option("--truncate-dim", type=click.IntRange(min=1), help="How many numbers to keep.")
@DTYPE_OPTION
@JSON_OPTION
def embed(
    *,
    texts: tuple[str, ...],
    files: tuple[IO[str], ...],
    preset: str,
    prompt_name: str | None,
    truncate_dim: int | None,
    dtype: str | None,
    as_json: bool,
    job: dict | None,
) -> None:
    """Gives one vector for each text: `clozework embed "the heaven and the earth"`

    Without --json each text is a line of numbers. The TEXT `-` stands for the lines of the standard
    input. Of a file, `--input texts.csv --output vectors.parquet`, each row gets its vector.
    """
    given = [] if job else given_texts(texts, files)
    embedder = load_task("TextEmbedder", preset, dtype)
    options = {"prompt_name": prompt_name, "truncate_dim": truncate_dim}

    def verb(part):
        return embedder.embed(part, **options)

    if job:
        about = {"verb": "embed", "model": preset, "dtype": dtype, **options}
        run_on_file(job, verb, _as_fields, about=about, as_json=as_json)
        return
    rows = [vector.tolist() for vector in in_parts(verb, given, "Embedding")]
    if as_json:
        print_json([{"input": text, "vector": row} for text, row in zip(given, rows, strict=True)])
        return
    for row in rows:
        click.echo(" ".join(f"{number:.6g}" for number in row))


def _as_fields(vector) -> dict:
    return {"vector": vector.tolist()}
