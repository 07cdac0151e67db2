"""From an object to a preset: what `save_to_preset` and `export_to_transformers` do."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from clozework import __version__
from clozework.errors import ClozeworkWarning, PresetError
from clozework.presets import (
    BACKBONE_FILES,
    PREPROCESSOR_FILES,
    Converted,
    family_of,
    metadata_record,
    plain_values,
    staged_directory,
    stored_values,
    write_h5,
    write_object,
    write_tokenizer,
)
from clozework.presets import hugging_face as hf
from clozework.tasks.model_card import export_card, preset_card, write_card

__all__ = [
    "export_backbone",
    "export_task",
    "form_of",
    "save_backbone",
    "save_preprocessor",
    "save_task",
    "special_token_ids",
]

# Special tokens that `transformers` names as we do.
_THEIR_ROLES = ("cls", "sep", "pad", "mask")


def save_backbone(backbone, directory, max_shard_size: float = 10, *, tokenizer=None) -> None:
    """See `Backbone.save_to_preset`; a tokenizer is saved with it."""
    with staged_directory(directory, replaces=BACKBONE_FILES) as staged:
        _write_backbone(staged, backbone, max_shard_size)
        if tokenizer is not None:
            write_tokenizer(staged, tokenizer)
        write_card(staged, directory, preset_card(backbone, _name_of(directory)))


def save_preprocessor(preprocessor, directory) -> None:
    """See `Preprocessor.save_to_preset`."""
    with staged_directory(directory, replaces=PREPROCESSOR_FILES) as staged:
        _write_preprocessor(staged, preprocessor)


def save_task(task, directory, max_shard_size: float) -> None:
    """See `Task.save_to_preset`."""
    with staged_directory(directory) as staged:
        _write_backbone(staged, task.backbone, max_shard_size)
        write_object(staged / "task.json", task, stored_apart=task.stored_apart)
        if task.has_task_weights():
            policies = task.backbone.quantized_policies
            values, names = stored_values(task, skip=(task.backbone,), policies=policies)
            write_h5(staged, "task.weights.h5", values, names)
        if task.preprocessor is not None:
            _write_preprocessor(staged, task.preprocessor)
        write_card(staged, directory, preset_card(task.backbone, _name_of(directory), task=task))


def export_backbone(backbone, directory, *, tokenizer=None) -> None:
    """See `Backbone.export_to_transformers`; a tokenizer is exported with it."""
    form = form_of(backbone)
    _warn_of_skipped_layers(form, backbone)
    with staged_directory(directory) as staged:
        config = {
            **_backbone_config(form, backbone),
            **_token_ids(form, tokenizer),
            "architectures": [form.architecture],
        }
        hf.write_json(staged / "config.json", config)
        values = plain_values(backbone.weights, backbone)
        hf.write_hugging_face_weights(form, staged, values)
        if tokenizer is not None:
            longest = backbone.arguments.get("max_sequence_length")
            _export_tokenizer(form, staged, tokenizer, longest)
        card = export_card(backbone, _name_of(directory), form.architecture)
        write_card(staged, directory, card)


def export_task(task, directory) -> None:
    """See `Task.export_to_transformers`."""
    form = form_of(task.backbone)
    # A task of which theirs have no class is written as its encoder, and what it adds beside it.
    head = form.heads.get(task.kind)
    backbone_config = _backbone_config(form, task.backbone)
    head_config = head.config if head else {}
    architecture = head.architecture if head else form.architecture
    _warn_of_other_values(head, backbone_config, task)
    with staged_directory(directory) as staged:
        config = {
            **backbone_config,
            **hf.hugging_face_config(head_config, task.arguments),
            **_token_ids(form, task.preprocessor and task.preprocessor.tokenizer),
            **special_token_ids(task),
            **task.hugging_face_config(),
            "architectures": [architecture],
        }
        hf.write_json(staged / "config.json", config)
        hf.write_hugging_face_weights(
            form,
            staged,
            plain_values(task.backbone.weights, task),
            head=head,
            head_values=plain_values(task.head_variables(), task),
        )
        task.write_extras(staged)
        if task.preprocessor is not None:
            preprocessor = task.preprocessor
            _export_tokenizer(form, staged, preprocessor.tokenizer, preprocessor.sequence_length)
        card = export_card(task.backbone, _name_of(directory), architecture, task=task)
        write_card(staged, directory, card)


def _name_of(directory) -> str:
    return Path(directory).expanduser().resolve().name


def _write_backbone(directory: Path, backbone, max_shard_size: float) -> None:
    write_object(directory / "config.json", backbone)
    metadata = metadata_record(backbone, __version__)
    (directory / "metadata.json").write_text(json.dumps(metadata, indent=4), encoding="utf-8")
    values, names = stored_values(backbone, policies=backbone.quantized_policies)
    write_h5(directory, "model.weights.h5", values, names, max_shard_size=max_shard_size)


def _write_preprocessor(directory: Path, preprocessor) -> None:
    write_object(directory / preprocessor.config_file, preprocessor)
    write_tokenizer(directory, preprocessor.tokenizer)


def _backbone_config(form, backbone) -> dict[str, Any]:
    return {
        "model_type": form.model_type,
        **{name: v[0] if isinstance(v, tuple) else v for name, v in form.fixed.items()},
        **hf.hugging_face_config(form.config, backbone.arguments),
        "torch_dtype": keras.dtype_policies.get(backbone.dtype_policy).variable_dtype,
    }


def _token_ids(form, tokenizer) -> dict[str, int | None]:
    return {
        theirs: None if tokenizer is None else vars(tokenizer)[f"{role}_token_id"]
        for theirs, role in form.token_ids.items()
    }


def special_token_ids(task) -> dict[str, Any]:
    """Returns what a decoder of theirs has to know of the tokenizer."""
    if task.preprocessor is None or "decoder_token_ids" not in task.backbone.input_names:
        return {}
    tokenizer = task.preprocessor.tokenizer
    return {
        "bos_token_id": tokenizer.start_token_id,
        "eos_token_id": tokenizer.end_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "decoder_start_token_id": tokenizer.end_token_id,
    }


def _warn_of_skipped_layers(form, backbone) -> None:
    """Says which layers of the backbone are lost where theirs has none."""
    if form.skips:
        warnings.warn(
            f"{form.architecture} of `transformers` has no {', '.join(map(repr, form.skips))}, so "
            f"the export leaves that of {type(backbone).__name__} out, and what depends on it will "
            f"be random when the export is loaded. `save_to_preset` keeps it.",
            ClozeworkWarning,
            stacklevel=4,
        )


def _warn_of_other_values(head, backbone_config: Mapping[str, Any], task) -> None:
    """Says which values of the head are lost where theirs has one for encoder and head, or one."""
    if head is None:
        return
    lost = [
        f"`{ours}` is {task.arguments[ours]!r} here, but always {theirs!r} there"
        for ours, theirs in head.implied.items()
        if task.arguments[ours] != theirs
    ]
    for ours, row in head.config.items():
        row = Converted(row) if isinstance(row, str) else row
        if row.theirs in backbone_config:
            value, theirs = row.read(task.arguments[ours]), row.read(backbone_config[row.theirs])
            if value != theirs:
                lost.append(f"`{ours}` is {value!r} here, but {theirs!r} there, as in the encoder")
    if lost:
        warnings.warn(
            f"`transformers` will compute {type(task).__name__} a little differently: "
            f"{'; '.join(lost)}.",
            ClozeworkWarning,
            stacklevel=4,
        )


def _export_tokenizer(form, directory: Path, tokenizer, longest: int | None) -> None:
    if form.tokenizer_files:
        assets = directory / "assets"
        assets.mkdir()
        tokenizer.save_assets(assets)
        written = dict(zip(tokenizer.file_assets, form.tokenizer_files, strict=True))
        for ours, theirs in written.items():
            (assets / ours).rename(directory / theirs)
        assets.rmdir()
    if form.has_tokenizer_json:
        _write_tokenizer_json(directory, tokenizer)
    content = {
        **_tokenizer_class(form, tokenizer),
        **form.tokenizer_config,
        **({"model_max_length": longest} if longest else {}),
        **hf.hugging_face_config(form.tokenizer_options, vars(tokenizer)),
    }
    hf.write_json(directory / "tokenizer_config.json", content)


def _write_tokenizer_json(directory: Path, tokenizer) -> None:
    try:
        tokenizer.to_hugging_face_file(directory / "tokenizer.json")
    except PresetError as error:
        warnings.warn(
            f"The export has no 'tokenizer.json', without which `transformers` may make other ids: "
            f"{error}",
            ClozeworkWarning,
            stacklevel=6,
        )


def _tokenizer_class(form, tokenizer) -> dict[str, str]:
    """Returns the class that gives our ids, and the special tokens where it does not know them."""
    if all(vars(tokenizer)[name] == value for name, value in form.tokenizer_implied.items()):
        return {"tokenizer_class": form.tokenizer_class}
    roles = {f"{role}_token": vars(tokenizer)[f"{role}_token"] for role in _THEIR_ROLES}
    return {"tokenizer_class": "PreTrainedTokenizerFast", **roles}


def form_of(backbone):
    """Returns the form of a backbone in Hugging Face `transformers`."""
    forms = family_of(type(backbone)).forms
    form = next((form for form in forms if form.describes(backbone.arguments)), None)
    if form is None:
        known = f": there are {', '.join(form.architecture for form in forms)}" if forms else ""
        raise PresetError(
            f"{type(backbone).__name__} with its arguments has no form in Hugging Face "
            f"`transformers` to export to{known}."
        )
    return form
