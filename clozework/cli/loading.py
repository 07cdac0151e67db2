"""The model that a command asks: options that say which, and how it is loaded."""

from collections.abc import Callable
from typing import Any

import click

from clozework.cli.printing import reading

__all__ = ["DTYPE_OPTION", "load_task", "model_option"]

DTYPE_OPTION = click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16"]),
    help="Precision of the weights: the preset's own by default, bfloat16 for speed.",
)


def model_option(what: str, *, default: str | None = None) -> Callable:
    """Returns the option that says which model to ask, as `preset`.

    Args:
        what: What it is, for the help.
        default: The model that is asked where none is named; None where one has to be.
    """
    return click.option(
        "-m",
        "--model",
        "--preset",
        "preset",
        required=default is None,
        default=default,
        show_default=default is not None,
        help=f"{what} A built-in name, a directory, or a handle such as hf://organisation/name.",
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
