"""`clozework embed`: one vector for each text."""

import click

from clozework.cli.requests import Request, request_options

__all__ = ["embed"]

_DEFAULT_PRESET = "deberta_v3_tiny_en_demo"


@click.command(short_help="Give one vector for each text.")
@request_options("The model.", default=_DEFAULT_PRESET)
@click.option("--prompt-name", metavar="NAME", help="Which of the model's prompts to put first.")
@click.option("--truncate-dim", type=click.IntRange(min=1), help="How many numbers to keep.")
def embed(request: Request, *, prompt_name: str | None, truncate_dim: int | None) -> None:
    """Gives one vector for each text: `clozework embed "the heaven and the earth"`

    Without --json each text is a line of numbers. The TEXT `-` stands for the lines of the standard
    input. Of a file, `--input texts.csv --output vectors.parquet`, each row gets its vector.
    """
    embedder = request.model("TextEmbedder")
    request.run(
        embedder.embed,
        as_fields=lambda vector: {"vector": vector.tolist()},
        show=lambda text, vector: " ".join(f"{number:.6g}" for number in vector),
        doing="Embedding",
        between="\n",
        prompt_name=prompt_name,
        truncate_dim=truncate_dim,
    )
