"""From one stored format to another."""

import os
import warnings

import keras

from clozework.errors import ClozeworkWarning, ConfigError, PresetNotFoundError
from clozework.presets import StoredModel, open_stored_model
from clozework.tasks.backbone import Backbone
from clozework.tasks.description import stored_task
from clozework.tasks.saving import export_backbone, export_task, save_backbone, save_task

__all__ = ["FORMATS", "convert_preset"]

FORMATS = ("keras", "transformers")


def convert_preset(
    source: str | os.PathLike[str], destination: str | os.PathLike[str], *, to: str
) -> keras.Model:
    """Writes a stored model in the format that is asked for.

    A task is written with its head, preprocessor and tokenizer; where none is stored, the backbone
    with its tokenizer.

    Args:
        source: Built-in name, `kaggle://` or `hf://` handle, or directory.
        destination: The directory to write; it is whole or absent.
        to: `"keras"` (KerasHub's format) or `"transformers"` (Hugging Face's).

    Returns:
        The model that was written.

    Raises:
        PresetError: If the source cannot be read, or the destination not be written.
    """
    if to not in FORMATS:
        raise ConfigError(f"There is no format {to!r} to convert to. Use one of {FORMATS}.")
    stored = open_stored_model(source, needs_files=True)
    task_cls = stored_task(stored)
    if task_cls is None:
        backbone = Backbone.from_preset(source)
        write_backbone = save_backbone if to == "keras" else export_backbone
        write_backbone(backbone, destination, tokenizer=_tokenizer_of(stored))
        return backbone
    without = {} if _tokenizer_of(stored) else {"preprocessor": None}
    task = task_cls.from_preset(source, **without)
    if to == "keras":
        save_task(task, destination, max_shard_size=10)
    else:
        export_task(task, destination)
    return task


def _tokenizer_of(stored: StoredModel):
    try:
        return stored.tokenizer()
    except PresetNotFoundError as error:
        warnings.warn(
            f"The model is converted without a tokenizer. {error}", ClozeworkWarning, stacklevel=3
        )
        return None
