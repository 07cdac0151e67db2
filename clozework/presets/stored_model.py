"""A stored model, whatever the format of its directory."""

import abc
import functools
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clozework.backend import fill_variable
from clozework.errors import ClozeworkWarning, PresetError, PresetNotFoundError, WeightsError
from clozework.presets import hugging_face as hf
from clozework.presets.files import LocalFiles, PresetFiles, SubFolder
from clozework.presets.h5_weights import read_h5
from clozework.presets.handle import open_handles, open_preset
from clozework.presets.keras_format import (
    StoredObject,
    is_keras_preset,
    read_object,
    read_object_if_known,
)
from clozework.presets.keras_variables import fill_from_keras_file
from clozework.presets.manifest import checked_by_manifest
from clozework.presets.precision import read_policy_map
from clozework.presets.registry import (
    Family,
    Preset,
    built_in_preset,
    family_of,
    unknown_preset,
)
from clozework.presets.sentence_modules import (
    projection_weights,
    read_sentence_modules,
    transformer_folder,
)

__all__ = ["StoredModel", "open_stored_model"]

_PACKAGE = Path(__file__).parent.parent
# The task of which `transformers` has no class: its steps are those of sentence-transformers.
_EMBEDDER = "TextEmbedder"


class StoredModel(abc.ABC):
    """What the loaders need of a stored model.

    Attributes:
        name: For messages.
        format: `"keras"`, `"transformers"`, or `"built-in"` for an architecture without files.
        files: Where it is stored; None for an architecture without files.
        backbone_cls: The class of its backbone.
        tokenizer_cls: The class of its tokenizer; None where it has none.
    """

    name: str
    format: str
    files: PresetFiles | None
    backbone_cls: type
    tokenizer_cls: type | None

    @abc.abstractmethod
    def backbone_arguments(self) -> dict[str, Any]:
        """Returns the stored arguments of the backbone."""

    @abc.abstractmethod
    def preferred_classes(self) -> tuple[type, ...]:
        """Returns the classes of task and preprocessor that were stored."""

    @abc.abstractmethod
    def task_arguments(self, cls: type) -> dict[str, Any]:
        """Returns the stored arguments of a task of that class."""

    @abc.abstractmethod
    def preprocessor_arguments(self, cls: type) -> dict[str, Any]:
        """Returns the stored arguments of a preprocessor of that class, without the tokenizer."""

    @abc.abstractmethod
    def tokenizer(self, **arguments: Any) -> Any:
        """Returns the stored tokenizer; `arguments` replace stored ones."""

    @abc.abstractmethod
    def fill_backbone(self, backbone: Any) -> list[str]:
        """Gives the backbone its stored weights; returns the variables that have none."""

    @abc.abstractmethod
    def fill_task(self, task: Any, *, keeps_head: bool) -> tuple[bool, list[str]]:
        """Gives a task its stored weights.

        Returns:
            Whether the head had stored weights, and the backbone's variables that had none.
        """


def open_stored_model(preset: str | os.PathLike, *, needs_files: bool) -> StoredModel:
    """Returns the stored model that a name, handle or directory means.

    Args:
        preset: Built-in name, handle or directory.
        needs_files: Whether weights will be read; otherwise a built-in name opens nothing.

    Raises:
        PresetNotFoundError: If there is none.
        PresetError: If it is in no known format.
    """
    built_in = built_in_preset(preset) if isinstance(preset, str) else None
    if built_in is None:
        return _open_files(_existing_files(preset))
    family, record = built_in
    if record.embedded:
        return _open_files(LocalFiles(_PACKAGE / record.embedded, name=repr(record.name)))
    if not needs_files:
        return _BuiltInArchitecture(family, record)
    return _open_files(open_handles(record.name, record.handles))


def _existing_files(preset: str | os.PathLike) -> PresetFiles:
    if isinstance(preset, str) and "://" not in preset and not Path(preset).expanduser().is_dir():
        raise unknown_preset(preset)
    return open_preset(preset)


def _open_files(files: PresetFiles) -> StoredModel:
    # A tokenizer or preprocessor may be saved alone.
    is_alone = not files.has("config.json") and files.has("tokenizer.json")
    if is_alone and is_keras_preset(files.read_json("tokenizer.json")):
        return _KerasPreset(files)
    folder = transformer_folder(files)
    model_files = SubFolder(files, folder) if folder else files
    config = model_files.read_json("config.json")
    if is_keras_preset(config):
        return _KerasPreset(files)
    if "model_type" in config:
        return _HuggingFaceModel(model_files, config, modules_of=files)
    raise PresetError(
        f"'config.json' of {files.name} is neither KerasHub's (it has no 'registered_name') nor "
        f"Hugging Face's (it has no 'model_type')."
    )


class _BuiltInArchitecture(StoredModel):
    """A built-in preset of which only the architecture is wanted."""

    format = "built-in"
    files = None

    def __init__(self, family: Family, preset: Preset):
        self.name = repr(preset.name)
        self.backbone_cls = family.backbone
        self.tokenizer_cls = family.tokenizer
        self._preset = preset

    def backbone_arguments(self):
        return dict(self._preset.config)

    def preferred_classes(self):
        return ()

    def task_arguments(self, cls):
        return {}

    def preprocessor_arguments(self, cls):
        return {}

    def tokenizer(self, **arguments):
        files = open_handles(self._preset.name, self._preset.handles)
        return _open_files(files).tokenizer(**arguments)

    def fill_backbone(self, backbone):
        raise PresetError(f"{self.name} was opened without its files.")

    def fill_task(self, task, *, keeps_head):
        raise PresetError(f"{self.name} was opened without its files.")


class _KerasPreset(StoredModel):
    """A directory in KerasHub's format, written by KerasHub or by us."""

    format = "keras"

    def __init__(self, files: PresetFiles):
        self.name = files.name
        self.files = self._files = files = checked_by_manifest(files)
        self._backbone = read_object(files, "config.json")
        self._task = read_object_if_known(files, "task.json")
        self._preprocessor = read_object_if_known(files, "preprocessor.json")
        self._tokenizer = read_object(files, "tokenizer.json")
        self.tokenizer_cls = self._tokenizer.cls if self._tokenizer else None
        stored = self._backbone or self._tokenizer
        assert stored is not None, "one of the two made it a preset of Keras"
        self._main_cls = stored.cls
        self.backbone_cls = family_of(stored.cls).backbone

    def backbone_arguments(self):
        if self._backbone is None:
            raise PresetNotFoundError(
                f"{self.name} holds a {self._main_cls.__name__} alone: it has no 'config.json' "
                f"that describes a model. Save the model to the same directory."
            )
        # As in KerasHub, a model has the precision that is set when it is loaded, but for weights
        # that are quantized.
        where = f"'config.json' of {self.name}"
        policies = read_policy_map(self._backbone.arguments.get("dtype"), where)
        arguments = _plain(self._backbone, without=("dtype",))
        return arguments if policies is None else {**arguments, "dtype": policies}

    def preferred_classes(self):
        return tuple(stored.cls for stored in (self._task, self._preprocessor) if stored)

    def task_arguments(self, cls):
        if self._task is None or self._task.cls is not cls:
            return {}
        arguments = _plain(self._task, without=("backbone", "preprocessor", "dtype"))
        return {**arguments, **_stored_apart(self._files, cls)}

    def preprocessor_arguments(self, cls):
        stored = self._preprocessor
        if stored is None or stored.cls is not cls:
            return {}
        return _plain(stored, without=("tokenizer", "dtype", "config_file"))

    def tokenizer(self, **arguments):
        stored = self._tokenizer
        if stored is None:
            raise PresetNotFoundError(
                f"{self.name} has no tokenizer. Pass `preprocessor=None` to load the model alone."
            )
        tokenizer = stored.cls.from_config({**stored.arguments, **arguments})
        paths = [self._files.path(f"assets/tokenizer/{name}") for name in tokenizer.file_assets]
        tokenizer.load_assets(paths[0].parent)
        return tokenizer

    def fill_backbone(self, backbone):
        values = read_h5(self._files, "model.weights.h5")
        fill_from_keras_file(backbone, values, f"'model.weights.h5' of {self.name}")
        return []

    def fill_task(self, task, *, keeps_head):
        absent = self.fill_backbone(task.backbone)
        is_same = self._task is not None and self._task.cls is type(task)
        if not (is_same and keeps_head and self._files.has("task.weights.h5")):
            return not task.has_task_weights(), absent
        values = read_h5(self._files, "task.weights.h5")
        where = f"'task.weights.h5' of {self.name}"
        fill_from_keras_file(task, values, where, skip=(task.backbone,))
        return True, absent


class _HuggingFaceModel(StoredModel):
    """A directory of Hugging Face `transformers`, or of sentence-transformers.

    Args:
        files: Where the model is.
        config: Its `config.json`.
        modules_of: Where `modules.json` may be: above `files` in old directories.
    """

    format = "transformers"

    def __init__(self, files: PresetFiles, config: Mapping[str, Any], *, modules_of: PresetFiles):
        self.name = files.name
        self._modules_of = modules_of
        self.files = self._files = files
        self._config = config
        self._family, self._form = hf.family_of_model_type(config["model_type"], files.name)
        self.backbone_cls = self._family.backbone
        self.tokenizer_cls = self._family.tokenizer
        hf.check_config(self._form, config, files.name)

    def backbone_arguments(self):
        return hf.read_config_table(self._form.config, self._config, self.name)

    def preferred_classes(self):
        if self._sentence_modules is not None:
            embedders = [cls for cls in self._family.tasks if cls.kind == _EMBEDDER]
            return (*embedders, *(cls.preprocessor_cls for cls in embedders))
        architectures = self._config.get("architectures") or ()
        return tuple(
            cls
            for cls in self._family.tasks
            for base, head in self._form.heads.items()
            if head.architecture in architectures and cls.kind == base
        )

    def task_arguments(self, cls):
        if cls.kind == _EMBEDDER:
            modules = self._sentence_modules
            if modules is None:
                return {}
            if "padding_mask" not in self.backbone_cls.input_names and not modules.has_full_rows:
                warnings.warn(
                    f"{self.name} has no fixed length of rows: in sentence-transformers a text's "
                    f"vector depends on the padding of its batch, as {self.backbone_cls.__name__} "
                    f"computes on it. Here all rows have `sequence_length` tokens.",
                    ClozeworkWarning,
                    stacklevel=4,
                )
            return modules.embedder_arguments()
        head = self._form.heads[cls.kind]
        arguments = hf.read_config_table(head.config, self._config, self.name, required=False)
        for argument in cls.stored_apart:
            # Older checkpoints say it among the rest.
            arguments[argument] = self._config
        arguments.update(_stored_apart(self._files, cls))
        if "num_classes" in arguments and not self._has_head(head):
            del arguments["num_classes"]
            return arguments
        names = hf.label_names_of(self._config)
        if "num_classes" in arguments and names is not None:
            arguments["label_names"] = names
        return arguments

    def preprocessor_arguments(self, cls):
        is_for_embedder = any(
            task.kind == _EMBEDDER and task.preprocessor_cls is cls for task in self._family.tasks
        )
        modules = self._sentence_modules if is_for_embedder else None
        if modules is None or modules.max_length is None:
            kinds = [task.kind for task in self._family.tasks if task.preprocessor_cls is cls]
            tables = (self._form.heads[kind].preprocessor for kind in kinds if kind != _EMBEDDER)
            table = next(tables, {})
            return hf.read_config_table(table, self._config, self.name, required=False)
        longest = self.backbone_arguments()["max_sequence_length"]
        return {"sequence_length": min(modules.max_length, longest)}

    def tokenizer(self, **arguments):
        cls = self._family.tokenizer
        paths, tokenizer_file, options = hf.tokenizer_source(self._form, self._files)
        if tokenizer_file is not None:
            return cls.from_hugging_face_file(tokenizer_file, **arguments)
        files = {argument: str(path) for argument, path in paths.items()}
        return cls(**files, **{**options, **arguments})

    def fill_backbone(self, backbone):
        return hf.fill_from_hugging_face(self._form, self._files, backbone)[1]

    def fill_task(self, task, *, keeps_head):
        if task.kind == _EMBEDDER:
            return self._fill_projections(task), self.fill_backbone(task.backbone)
        return hf.fill_from_hugging_face(
            self._form,
            self._files,
            task.backbone,
            head=self._form.heads[task.kind],
            head_variables={variable.path: variable for variable in task.head_variables()},
            keeps_head=keeps_head and not self._is_of_another_task(task.kind),
        )

    @functools.cached_property
    def _sentence_modules(self):
        return read_sentence_modules(self._modules_of)

    def _fill_projections(self, task) -> bool:
        """Gives the embedder's dense layers their values; returns whether all were stored."""
        folders = self._sentence_modules.folders if self._sentence_modules else ()
        layers = task.projections
        if len(folders) != len(layers):
            return not layers
        for folder, layer in zip(folders, layers, strict=True):
            values = projection_weights(self._modules_of, folder)
            shapes = [value.shape for value in values]
            if shapes != [tuple(variable.shape) for variable in layer.weights]:
                raise WeightsError(
                    f"The weights in {folder!r} of {self.name} have the shapes {shapes}, but "
                    f"{layer.name!r} has {[tuple(v.shape) for v in layer.weights]}."
                )
            for variable, value in zip(layer.weights, values, strict=True):
                fill_variable(variable, value)
        return True

    def _has_head(self, head) -> bool:
        return head.architecture in (self._config.get("architectures") or (head.architecture,))

    def _is_of_another_task(self, kind: str) -> bool:
        """Says whether the config names the class of another task, whose tensors may look alike."""
        named = set(self._config.get("architectures") or ())
        kinds = {task for task, head in self._form.heads.items() if head.architecture in named}
        return bool(kinds) and kind not in kinds


def _stored_apart(files: PresetFiles, cls: type) -> dict[str, Any]:
    """Returns the arguments of a task that have files of their own, as far as these are there."""
    stored = cls.stored_apart.items()
    return {argument: files.read_json(file) for argument, file in stored if files.has(file)}


def _plain(stored: StoredObject, *, without: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in stored.arguments.items() if key not in without}
