"""What a preset is, without loading its weights."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clozework.backend import unallocated_variables
from clozework.presets import StoredModel, built_in_preset, family_of, open_stored_model
from clozework.tasks.task import Task

__all__ = ["PresetDescription", "describe_preset", "stored_task"]


@dataclass(frozen=True)
class PresetDescription:
    """What a preset is.

    Attributes:
        name: As it was asked for.
        description: One sentence, for a built-in preset.
        family: Name of the model family.
        format: `"keras"`, `"transformers"`, or `"built-in"` where the files were not looked at, as
            they would have to be fetched.
        backbone: Class of the backbone.
        parameters: Number of parameters of the backbone.
        architecture: Arguments of the backbone, defaults included.
        task: Class of the task that is stored with its head; None for a backbone alone.
        tasks: Classes of all tasks that the preset can be loaded as.
        tokenizer: Class of the tokenizer; None where there is none.
        label_names: Names of the classes of a stored classifier, where they have names.
        handles: Where a built-in preset is fetched from, first choice first.
        files: Size of each file in bytes.
    """

    name: str
    description: str
    family: str
    format: str
    backbone: str
    parameters: int
    architecture: Mapping[str, Any]
    task: str | None
    tasks: tuple[str, ...]
    tokenizer: str | None
    label_names: tuple[str, ...] | None
    handles: tuple[str, ...]
    files: Mapping[str, int]


def describe_preset(preset: str | os.PathLike[str]) -> PresetDescription:
    """Returns what a preset is, from its config; no weights are read.

    A built-in name is answered for without a network.

    Args:
        preset: Built-in name, `kaggle://` or `hf://` handle, or directory.

    Raises:
        PresetError: If it cannot be found or read.

    Example:
    >>> description = describe_preset("roberta_base_en")
    >>> description.parameters, description.tokenizer
    (124052736, 'RobertaTokenizer')
    """
    stored = open_stored_model(preset, needs_files=False)
    name = os.fspath(preset)
    built_in = built_in_preset(name)
    task = stored_task(stored)
    label_names = stored.task_arguments(task).get("label_names") if task else None
    with unallocated_variables():
        backbone = stored.backbone_cls(**stored.backbone_arguments())
    family = family_of(stored.backbone_cls)
    files = stored.files
    return PresetDescription(
        name=name,
        description=built_in[1].description if built_in else "",
        family=family.name,
        format=stored.format,
        backbone=stored.backbone_cls.__name__,
        parameters=backbone.count_params(),
        architecture={k: v for k, v in backbone.arguments.items() if k != "dtype"},
        task=task.__name__ if task else None,
        tasks=tuple(cls.__name__ for cls in family.tasks),
        tokenizer=stored.tokenizer_cls.__name__ if stored.tokenizer_cls else None,
        label_names=tuple(label_names) if label_names else None,
        handles=built_in[1].handles if built_in else (),
        files={file: files.size(file) for file in files.names()} if files else {},
    )


def stored_task(stored: StoredModel) -> type | None:
    """Returns the class of the task whose head is stored, or None for a backbone alone."""
    return next((cls for cls in stored.preferred_classes() if issubclass(cls, Task)), None)
