"""KerasHub's preset directories: what their JSON files say, and how we write them.

A stored object is `{"module", "class_name", "config", "registered_name"}`. Only the class name
behind `keras_hub>` (or `keras_nlp>`, in older presets) and the config count: no import path is
followed.
"""

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from clozework.errors import PresetError
from clozework.presets.files import PresetFiles
from clozework.presets.registry import family_of, registered_class

__all__ = [
    "BACKBONE_FILES",
    "PREPROCESSOR_FILES",
    "TOKENIZER_FILES",
    "StoredObject",
    "is_keras_preset",
    "metadata_record",
    "object_record",
    "read_object",
    "read_object_if_known",
    "write_object",
    "write_tokenizer",
]

# What a save of one part stands for. A head goes with the backbone that it was trained on.
TOKENIZER_FILES = ("tokenizer.json", "assets/tokenizer/*")
PREPROCESSOR_FILES = (*TOKENIZER_FILES, "preprocessor.json")
BACKBONE_FILES = (
    "config.json",
    "metadata.json",
    "model*.weights.*",
    "task.json",
    "task.weights.h5",
)

_PACKAGES = ("keras_hub", "keras_nlp", "clozework")


class StoredObject:
    """A class and the arguments for its constructor, read from a JSON file.

    Attributes:
        cls: The class, one of ours.
        arguments: Its stored constructor arguments; nested objects are `StoredObject` again, but
            a precision is left as it is stored.
    """

    def __init__(self, record: Any, where: str):
        if not isinstance(record, Mapping) or not isinstance(record.get("config"), Mapping):
            raise PresetError(
                f"{where} does not describe a model: it has no 'registered_name' and 'config'."
            )
        cls = _class_of(record)
        if cls is None:
            raise PresetError(
                f"{where} holds a {_registered_name(record)!r}, which Clozework does not have. "
                f"`clozework presets` lists the families that it has."
            )
        name = record["config"].get("name")
        if name is not None and (not isinstance(name, str) or "/" in name):
            raise PresetError(
                f"The 'name' in {where} is {name!r}, but must be a string without '/'. Correct it, "
                f"or leave it out."
            )
        self.cls = cls
        self.arguments = {
            key: StoredObject(value, where) if _is_object(value) and key != "dtype" else value
            for key, value in record["config"].items()
        }


def is_keras_preset(config: Mapping[str, Any]) -> bool:
    """Tells KerasHub's `config.json` from others."""
    return "registered_name" in config or "class_name" in config


def read_object(files: PresetFiles, name: str) -> StoredObject | None:
    """Returns what a JSON file of a preset describes, or None where there is no such file."""
    if not files.has(name):
        return None
    return StoredObject(files.read_json(name), f"{name!r} of {files.name}")


def read_object_if_known(files: PresetFiles, name: str) -> StoredObject | None:
    """Returns what `read_object` does, or None for an object of a class that Clozework lacks.

    A backbone that was saved with a task unknown here is still a backbone.
    """
    record = files.read_json(name) if files.has(name) else {}
    is_unknown = is_keras_preset(record) and _class_of(record) is None
    return None if is_unknown else read_object(files, name)


def object_record(instance: Any) -> dict[str, Any]:
    """Returns the record that KerasHub's loader and ours read back as `instance`."""
    cls = type(instance)
    family = family_of(cls).name
    class_name = cls.__name__
    return {
        "module": f"keras_hub.src.models.{family}.{_module_name(cls, family)}",
        "class_name": class_name,
        "config": {key: _plain(value) for key, value in instance.get_config().items()},
        "registered_name": f"keras_hub>{class_name}",
    }


def write_object(path: Path, instance: Any, *, stored_apart: Mapping[str, str] | None = None):
    """Writes the record of `instance` to a JSON file.

    Args:
        path: The file.
        instance: A model, a preprocessor or a tokenizer.
        stored_apart: Arguments that go into files of their own beside it: argument -> file.
    """
    record = object_record(instance)
    for argument, file in (stored_apart or {}).items():
        value = record["config"].pop(argument, None)
        if value is not None:
            path.with_name(file).write_text(json.dumps(value, indent=2), encoding="utf-8")
    path.write_text(json.dumps(record, indent=4), encoding="utf-8")


def write_tokenizer(directory: Path, tokenizer: Any) -> None:
    """Writes a tokenizer's record and its vocabulary into a preset directory."""
    write_object(directory / "tokenizer.json", tokenizer)
    assets = directory / "assets" / "tokenizer"
    assets.mkdir(parents=True, exist_ok=True)
    tokenizer.save_assets(assets)


def metadata_record(backbone: Any, version: str) -> dict[str, Any]:
    """Returns the content of `metadata.json`."""
    tasks = sorted({task.kind for task in family_of(type(backbone)).tasks})
    return {
        "keras_version": keras.version(),
        "clozework_version": version,
        "parameter_count": backbone.count_params(),
        "date_saved": datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S"),
        "tasks": tasks,
    }


def _registered_name(record: Mapping[str, Any]) -> str:
    return str(record.get("registered_name") or record.get("class_name"))


def _class_of(record: Mapping[str, Any]) -> type | None:
    """Returns the class that a record names, if it is one of ours."""
    package, _, class_name = _registered_name(record).rpartition(">")
    return registered_class(class_name) if package in (*_PACKAGES, "") else None


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping) and "config" in value and "class_name" in value


def _plain(value: Any) -> Any:
    """Returns a config value as JSON: models, preprocessors and tokenizers as records."""
    if isinstance(value, str | int | float | bool | None | list | tuple | dict):
        return value
    return object_record(value)


def _module_name(cls: type, family: str) -> str:
    """KerasHub's module of a class: `bert_text_classifier` for `BertTextClassifier`."""
    words = []
    for character in cls.__name__[len(family.replace("_", "")) :]:
        words.append(f"_{character.lower()}" if character.isupper() else character)
    suffix = "".join(words).replace("_l_m", "_lm").replace("_seq2_seq", "_seq_2_seq")
    return f"{family}{suffix}"
