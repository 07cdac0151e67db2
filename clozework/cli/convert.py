"""`clozework convert`: from one stored format to another."""

from pathlib import Path

import click

from clozework.cli.printing import as_size, reading, say

__all__ = ["convert"]


@click.command(short_help="Write a model in KerasHub's or in Hugging Face's format.")
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST", type=click.Path(file_okay=False))
@click.option(
    "--to",
    "stored_format",
    required=True,
    type=click.Choice(["keras", "transformers"]),
    help="The format: of KerasHub's presets, or of Hugging Face `transformers`.",
)
def convert(*, source: str, destination: str, stored_format: str) -> None:
    """Writes the model SRC to the directory DST in another format.

    SRC is a built-in name, a directory, `hf://organisation/name` or
    `kaggle://organisation/model/framework/variation`. A model with a head is written with it and
    its tokenizer, any other as the backbone with its tokenizer. A model that DST holds already is
    replaced once the new one is whole; other files there stay.
    """
    from clozework import models  # noqa: F401 (registers the families)
    from clozework.tasks import convert_preset, describe_preset

    with reading(source, "Converting"):
        model = convert_preset(source, destination, to=stored_format)
    # As a path: a directory with the name of a built-in preset is still this directory.
    size = sum(describe_preset(Path(destination)).files.values())
    say(f"Wrote a {type(model).__name__} to {destination} ({as_size(size)}).")
