"""The model that a command asks: options that say which, and how it is loaded."""

from typing import Any

import click

from clozework.cli.printing import reading

__all__ = ["DTYPE_OPTION", "PRESET_HELP", "load_task"]

PRESET_HELP = "A built-in name, a directory, or a handle such as hf://organisation/name."
DTYPE_OPTION = click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16"]),
    help="Precision of the weights: the preset's own by default, bfloat16 for speed.",
)


def load_task(kind: str, preset: str, dtype: str | None) -> Any:
    """Returns a task of a kind, such as `"MaskedLM"`, while the user is told that it is read.

    Args:
        kind: Name of a class in `clozework.models`.
        preset: As the user wrote it.
        dtype: Of the weights; None for that of the preset.
    """
    # Help and errors of use wait for no Keras.
    from clozework import models

    options = {} if dtype is None else {"dtype": dtype}
    with reading(preset, "Loading"):
        return getattr(models, kind).from_preset(preset, **options)
