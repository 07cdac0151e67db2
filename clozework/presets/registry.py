"""The one list of model families; dispatch, listings and contract tests come from it."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras

from clozework.errors import PresetNotFoundError
from clozework.presets.hugging_face_format import HuggingFaceFormat

__all__ = [
    "Family",
    "Preset",
    "built_in_preset",
    "families",
    "family_named",
    "family_of",
    "register",
    "registered_class",
    "similar_names",
]


@dataclass(frozen=True)
class Preset:
    """A model that can be had by name.

    Attributes:
        name: As given to `from_preset`.
        parameters: Number of parameters of the backbone.
        config: Arguments of the backbone.
        description: What it is and what it was trained on.
        kaggle, hugging_face: Handles of places that have it, tried in this order.
        embedded: Folder inside the package that has it, with no download.
    """

    name: str
    parameters: int
    config: Mapping[str, Any]
    description: str = ""
    kaggle: str | None = None
    hugging_face: str | None = None
    embedded: str | None = None

    @property
    def handles(self) -> tuple[str, ...]:
        """The places that have it, first choice first."""
        return tuple(handle for handle in (self.kaggle, self.hugging_face) if handle)


@dataclass(frozen=True)
class Family:
    """Everything that the rest of the library knows of a model family.

    Attributes:
        name: In snake case, as in KerasHub's module names.
        title: As people write it.
        backbone, tokenizer, tasks: Its classes.
        aliases: Old class name -> class.
        presets: Built-in presets.
        hugging_face: Its form in Hugging Face `transformers`.
        other_hugging_face: Further forms of it there, of which one may be that of a model.
    """

    name: str
    title: str
    backbone: type
    tokenizer: type
    tasks: tuple[type, ...]
    aliases: Mapping[str, type] = field(default_factory=dict)
    presets: tuple[Preset, ...] = ()
    hugging_face: HuggingFaceFormat | None = None
    other_hugging_face: tuple[HuggingFaceFormat, ...] = ()

    @property
    def forms(self) -> tuple[HuggingFaceFormat, ...]:
        """Its forms in Hugging Face `transformers`, the usual one first."""
        return (*([self.hugging_face] if self.hugging_face else []), *self.other_hugging_face)

    @property
    def classes(self) -> tuple[type, ...]:
        """All classes of the family, each once."""
        preprocessors = (task.preprocessor_cls for task in self.tasks)
        return (self.backbone, self.tokenizer, *self.tasks, *dict.fromkeys(preprocessors))


_FAMILIES: dict[str, Family] = {}


def register(family: Family) -> Family:
    """Adds a family; from then on `from_preset`, listings and tests know it."""
    for cls in family.classes:
        keras.saving.register_keras_serializable(package="clozework")(cls)
    _FAMILIES[family.name] = family
    return family


def families() -> Iterator[Family]:
    """Yields the families in the order of their registration."""
    yield from tuple(_FAMILIES.values())


def family_named(name: str) -> Family:
    """Returns the family with that name; KeyError if there is none."""
    return _FAMILIES[name]


def family_of(cls: type) -> Family:
    """Returns the family that a backbone, tokenizer, task or preprocessor class belongs to."""
    # The class itself first: XLM-RoBERTa's are below RoBERTa's.
    for parent in cls.__mro__:
        for family in families():
            if parent in family.classes:
                return family
    raise LookupError(f"{cls.__name__} belongs to no registered family.")


def registered_class(name: str) -> type | None:
    """Returns the class with that name, old names included, or None."""
    for family in families():
        named = {cls.__name__: cls for cls in family.classes}
        cls = named.get(name) or family.aliases.get(name)
        if cls is not None:
            return cls
    return None


def built_in_preset(name: str) -> tuple[Family, Preset] | None:
    """Returns the built-in preset with that name and its family, or None."""
    for family in families():
        for preset in family.presets:
            if preset.name == name:
                return family, preset
    return None


def similar_names(name: str) -> list[str]:
    """Returns names of built-in presets that look like `name`, best first."""
    names = [preset.name for family in families() for preset in family.presets]
    return difflib.get_close_matches(name, names, n=3, cutoff=0.6)


def unknown_preset(name: str) -> PresetNotFoundError:
    """Returns the error for a name that is neither built in nor a handle nor a directory."""
    similar = similar_names(name)
    hint = f" Did you mean {' or '.join(map(repr, similar))}?" if similar else ""
    return PresetNotFoundError(
        f"Preset {name!r} not found: there is no built-in preset and no directory of that name."
        f"{hint} `clozework presets` lists the built-in ones; a model of Hugging Face is "
        f"'hf://organisation/name', of Kaggle 'kaggle://user/model/framework/variation'."
    )
