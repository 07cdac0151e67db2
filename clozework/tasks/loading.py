"""From a preset to an object: what `from_preset` of backbones, tasks and preprocessors do."""

import warnings
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from clozework.backend import allocate_variables, unallocated_variables
from clozework.errors import ClozeworkWarning, ConfigError, PresetError
from clozework.presets import StoredModel, family_of, open_stored_model, presets_of
from clozework.start_up import collection_paused
from clozework.tasks.arguments import argument_defaults, unknown_arguments

__all__ = ["load_backbone", "load_preprocessor", "load_task"]

_FOR_KERAS = ("name", "trainable", "dtype")


def load_backbone(cls: type, preset, load_weights: bool, kwargs: Mapping[str, Any]):
    """See `Backbone.from_preset`."""
    stored = open_stored_model(preset, needs_files=load_weights)
    _check_kind(cls, stored.backbone_cls, stored.name)
    with unallocated_variables(), collection_paused():
        backbone = stored.backbone_cls(**{**stored.backbone_arguments(), **kwargs})
    if load_weights:
        _warn_of_absent(stored.fill_backbone(backbone), stored.name)
    allocate_variables(backbone)
    return backbone


def load_preprocessor(cls: type, preset, kwargs: Mapping[str, Any]):
    """See `Preprocessor.from_preset`."""
    stored = open_stored_model(preset, needs_files=True)
    preprocessor_cls = _subclass_of_family(cls, stored)
    return _make_preprocessor(stored, preprocessor_cls, dict(kwargs))


def load_task(cls: type, preset, load_weights: bool, kwargs: Mapping[str, Any]):
    """See `Task.from_preset`."""
    stored = open_stored_model(preset, needs_files=load_weights)
    task_cls = _subclass_of_family(cls, stored)
    task_arguments, backbone_arguments, preprocessor_arguments = _shared_out(task_cls, kwargs)
    stored_arguments = stored.task_arguments(task_cls)
    num_classes = task_arguments.get("num_classes")
    keeps_head = num_classes in (None, stored_arguments.get("num_classes"))
    if not keeps_head:
        stored_arguments.pop("label_names", None)
    arguments = {**stored_arguments, **task_arguments, "preprocessor": None}
    _check_required(task_cls, arguments, stored.name)
    # The vocabulary is read by one core, while others read the weights; not while the model is
    # made, which is Python's work as well: its threads take turns, and wait for them.
    with ThreadPoolExecutor(1, thread_name_prefix="clozework-preprocessor") as thread:
        with unallocated_variables(), collection_paused():
            backbone = arguments.pop("backbone", None)
            if backbone is None:
                own = {**stored.backbone_arguments(), **backbone_arguments}
                backbone = stored.backbone_cls(**own)
            task = task_cls(backbone=backbone, **arguments, compile=False)
        preprocessor = thread.submit(
            _task_preprocessor, stored, task_cls, task_arguments, preprocessor_arguments
        )
        has_head, absent = True, []
        if load_weights:
            has_head, absent = stored.fill_task(task, keeps_head=keeps_head)
        allocate_variables(task)
        task.preprocessor = _finished(
            preprocessor, task_cls, stored.name, is_optional=not load_weights
        )
    _warn_of_absent(absent if task.needs_pooled_output() else (), stored.name)
    if not has_head:
        _warn_of_new_head(task_cls, stored.name)
    if arguments.get("compile", True):
        task.compile()
    return task


def _check_kind(asked: type, stored: type, where: str) -> None:
    if not issubclass(stored, asked):
        raise PresetError(
            f"{where} holds a {stored.__name__}, which is no {asked.__name__}. "
            f"Use {stored.__name__}.from_preset, or name a preset of {asked.__name__}: "
            f"{', '.join(presets_of(asked)) or 'there is no built-in one'}."
        )


def _subclass_of_family(cls: type, stored: StoredModel) -> type:
    """Returns the class of the stored family that is, or is below, the class asked."""
    family = family_of(stored.backbone_cls)
    found = [known for known in family.classes if issubclass(known, cls)]
    preferred = [known for known in found if known in stored.preferred_classes()]
    if not found:
        raise PresetError(
            f"{stored.name} holds a {stored.backbone_cls.__name__}, for which there is no "
            f"{cls.__name__}. Classes of its family are: "
            f"{', '.join(sorted(known.__name__ for known in family.classes))}."
        )
    if len(found) > 1 and not preferred:
        raise PresetError(
            f"{stored.name} does not say which {cls.__name__} it is. "
            f"Use one of: {', '.join(sorted(known.__name__ for known in found))}."
        )
    return (preferred or found)[0]


def _shared_out(task_cls: type, kwargs: Mapping[str, Any]) -> tuple[dict, dict, dict]:
    """Shares the arguments of `from_preset` out to task, backbone and preprocessor."""
    own = argument_defaults(task_cls)
    of_backbone = argument_defaults(task_cls.backbone_cls)
    of_preprocessor = argument_defaults(task_cls.preprocessor_cls)
    task, backbone, preprocessor, unknown = {}, {}, {}, []
    for name, value in kwargs.items():
        if name in own or name in ("name", "compile"):
            task[name] = value
        elif name in of_backbone or name in _FOR_KERAS:
            backbone[name] = value
        elif name in of_preprocessor:
            preprocessor[name] = value
        else:
            unknown.append(name)
    if unknown:
        known = dict.fromkeys([*own, *of_backbone, *of_preprocessor, *_FOR_KERAS])
        raise unknown_arguments(task_cls, unknown, list(known))
    return task, backbone, preprocessor


def _task_preprocessor(stored, task_cls, task_arguments, arguments):
    if "preprocessor" in task_arguments:
        return task_arguments["preprocessor"]
    return _make_preprocessor(stored, task_cls.preprocessor_cls, arguments)


def _finished(preprocessor: Future, task_cls: type, where: str, *, is_optional: bool):
    """Returns the preprocessor that a thread made, or None if it could not and need not be."""
    try:
        return preprocessor.result()
    except PresetError as error:
        if not is_optional:
            raise
        warnings.warn(
            f"{task_cls.__name__} has no preprocessor, as the tokenizer of {where} cannot be "
            f"had: {error}",
            ClozeworkWarning,
            stacklevel=5,
        )
        return None


def _make_preprocessor(stored: StoredModel, cls: type, arguments: dict[str, Any]):
    defaults = stored.preprocessor_arguments(cls)
    for name in cls.length_names:
        if name not in defaults:
            longest = stored.backbone_arguments().get("max_sequence_length")
            default = argument_defaults(cls)[name].default
            # A row longer than the model's positions could not be computed.
            defaults[name] = min(default, longest or default)
    tokenizer = arguments.pop("tokenizer", None) or stored.tokenizer()
    return cls(**{**defaults, **arguments, "tokenizer": tokenizer})


def _check_required(task_cls: type, arguments: Mapping[str, Any], where: str) -> None:
    missing = [
        name
        for name, parameter in argument_defaults(task_cls).items()
        if parameter.default is parameter.empty and name not in (*arguments, "backbone")
    ]
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        raise ConfigError(
            f"{task_cls.__name__}.from_preset needs {names}: {where} holds no such head. For "
            f"example: {task_cls.__name__}.from_preset({where}, {missing[0]}=2)."
        )


def _warn_of_absent(absent, where: str) -> None:
    if absent:
        warnings.warn(
            f"{where} has no weights for {', '.join(absent)}; they are random. Train the model "
            f"before you use what depends on them.",
            ClozeworkWarning,
            stacklevel=4,
        )


def _warn_of_new_head(task_cls: type, where: str) -> None:
    warnings.warn(
        f"{where} has no head for {task_cls.__name__}; it is random. Train it with `fit` before "
        f"you use it.",
        ClozeworkWarning,
        stacklevel=4,
    )
