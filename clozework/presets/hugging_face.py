"""Models in the directories of Hugging Face `transformers`, read and written by tables."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from clozework.backend import fill_variable
from clozework.errors import ClozeworkWarning, PresetError, PresetNotFoundError
from clozework.presets.files import PresetFiles
from clozework.presets.hugging_face_format import (
    Combined,
    ConfigTable,
    Converted,
    HuggingFaceFormat,
    HuggingFaceHead,
)
from clozework.presets.registry import Family, families
from clozework.presets.stored_tensors import StoredTensor
from clozework.presets.tensor_files import open_tensors, write_safetensors
from clozework.presets.weight_map import WeightMap
from clozework.reading_ahead import map_ahead

__all__ = [
    "HUGGING_FACE_HARMLESS",
    "family_of_model_type",
    "fill_from_hugging_face",
    "hugging_face_config",
    "label_names_of",
    "read_config_table",
    "tokenizer_source",
    "write_hugging_face_weights",
]

# Values in a config that do not change what an encoder computes: training, generation, bookkeeping.
_HARMLESS = """
    _attn_implementation _attn_implementation_autoset _commit_hash _name_or_path _num_labels
    adapters architectures attention_probs_dropout_prob attn_implementation auto_map
    bad_words_ids begin_suppress_tokens bos_token_id chunk_size_feed_forward
    classifier_dropout cross_attention_hidden_size custom_pipelines decoder_start_token_id
    directionality diversity_penalty do_sample dtype early_stopping
    encoder_no_repeat_ngram_size eos_token_id exponential_decay_length_penalty
    finetuning_task forced_bos_token_id forced_eos_token_id gradient_checkpointing
    hidden_dropout_prob id2label initializer_range keys_to_ignore_at_inference label2id
    language length_penalty max_length min_length model_type name no_repeat_ngram_size
    num_beam_groups num_beams num_labels num_return_sequences output_attentions
    output_hidden_states output_past output_scores pad_token_id pooler_fc_size
    pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head pooler_type prefix
    problem_type remove_invalid_values repetition_penalty return_dict
    return_dict_in_generate sbert_ce_default_activation_function sentence_transformers
    sep_token_id suppress_tokens task_specific_params temperature tf_legacy_loss
    tie_encoder_decoder tokenizer_class top_k top_p torch_dtype torchscript
    transformers.js_config transformers_version typical_p use_bfloat16 use_cache
"""
HUGGING_FACE_HARMLESS = frozenset(_HARMLESS.split())
# What all encoders here imply, whatever the family.
_FIXED = {
    "add_cross_attention": False,
    "is_decoder": False,
    "is_encoder_decoder": False,
    "pruned_heads": {},
    "tie_word_embeddings": True,
}
_GENERIC_LABEL = "LABEL_"


def family_of_model_type(model_type: Any, where: str) -> tuple[Family, HuggingFaceFormat]:
    """Returns the family with that `model_type`, and its tables.

    Raises:
        PresetError: If no family has it; it lists those that there are.
    """
    known = {form.model_type: (family, form) for family in families() for form in family.forms}
    if model_type not in known:
        raise PresetError(
            f"{where} is a Hugging Face model of type {model_type!r}, which Clozework does not "
            f"have. It has: {', '.join(sorted(known))}."
        )
    return known[model_type]


def read_config_table(
    table: ConfigTable,
    config: Mapping[str, Any],
    where: str,
    *,
    required: bool = True,
) -> dict[str, Any]:
    """Returns our arguments for their config values.

    Raises:
        PresetError: If a value is missing or cannot be had; all are listed.
    """
    arguments: dict[str, Any] = {}
    problems: list[str] = []
    for ours, row in table.items():
        if isinstance(row, Combined):
            try:
                arguments[ours] = row.read(config)
            except (TypeError, ValueError, KeyError) as error:
                stated = {name: config.get(name) for name in row.theirs}
                problems.append(f"{stated} has no meaning here: {error}")
            continue
        row = Converted(row) if isinstance(row, str) else row
        value = config.get(row.theirs, row.default)
        if value is None:
            if required:
                problems.append(f"{row.theirs!r} is missing")
            continue
        try:
            arguments[ours] = row.read(value)
        except (TypeError, ValueError, KeyError) as error:
            problems.append(f"{row.theirs!r} is {value!r}: {error}")
    if problems:
        raise PresetError(f"The config of {where} cannot be read: {'; '.join(problems)}.")
    return arguments


def check_config(form: HuggingFaceFormat, config: Mapping[str, Any], where: str) -> None:
    """Raises `PresetError` for values that would change the numbers in a way that we don't have."""
    fixed = {**_FIXED, **form.fixed}
    tables = [form.config, *(head.config for head in form.heads.values())]
    mapped = {name for table in tables for row in table.values() for name in _their_names(row)}
    problems = [f"{name!r} is not stated" for name in sorted(form.stated - config.keys())]
    for name, value in config.items():
        if name in fixed:
            allowed = fixed[name] if isinstance(fixed[name], tuple) else (fixed[name],)
            if value not in allowed:
                expected = " or ".join(map(repr, allowed))
                problems.append(f"{name!r} is {value!r}, Clozework has only {expected}")
        elif name not in mapped and name not in form.harmless | HUGGING_FACE_HARMLESS:
            problems.append(f"{name!r} is not known")
    if problems:
        raise PresetError(
            f"The config of {where} asks for what Clozework does not compute as "
            f"{form.architecture}: {'; '.join(problems)}. Its numbers would be wrong."
        )


def hugging_face_config(table: ConfigTable, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Returns their config values for our arguments: the table read backwards."""
    config = {}
    for ours, row in table.items():
        if isinstance(row, Combined):
            # A null is written: to leave it out would mean their default.
            config.update({name: row.write(arguments) for name in row.theirs[:1]})
            continue
        row = Converted(row) if isinstance(row, str) else row
        value = row.write(arguments[ours])
        if value is not None:
            config[row.theirs] = value
    return config


def _their_names(row: str | Converted | Combined) -> tuple[str, ...]:
    if isinstance(row, str):
        return (row,)
    return row.theirs if isinstance(row, Combined) else (row.theirs,)


def label_names_of(config: Mapping[str, Any]) -> list[str] | None:
    """Returns the labels in the order of their ids, or None where they have no names."""
    names = config.get("id2label")
    if not isinstance(names, Mapping) or not names:
        return None
    try:
        ordered = [str(names[key]) for key in sorted(names, key=int)]
    except ValueError as error:
        raise PresetError(f"'id2label' must map numbers to names. Received: {names!r}.") from error
    return None if all(name.startswith(_GENERIC_LABEL) for name in ordered) else ordered


def fill_from_hugging_face(
    form: HuggingFaceFormat,
    files: PresetFiles,
    backbone: Any,
    *,
    head: HuggingFaceHead | None = None,
    head_variables: Mapping[str, Any] | None = None,
    keeps_head: bool = True,
) -> tuple[bool, list[str]]:
    """Gives the backbone, and the head where the checkpoint has it, their stored values.

    Args:
        form: The family's tables.
        files: The checkpoint.
        backbone: Our backbone.
        head: The rows of the task's head.
        head_variables: The head's variables, by path.
        keeps_head: Whether it is the checkpoint's, if that has one; only what all heads share
            otherwise.

    Returns:
        Whether the head was filled, and the paths of variables that the checkpoint does not have.

    Raises:
        WeightsError: If anything does not fit; nothing was changed then.
    """
    tensors = _WithoutPrefix(open_tensors(files).entries, form.prefix)
    of_backbone = {variable.path: variable for variable in backbone.weights}
    variables = _without_layers(of_backbone, form.skips)
    skipped = of_backbone.keys() - variables.keys()
    rows = form.rows
    head_rows = head.rows if head is not None else ()
    has_head = any(name in tensors for row in head_rows for name in row.possible_names)
    # A head without weights of its own, or with none that must be there.
    has_head = has_head or (head is not None and all(row.is_optional for row in head_rows))
    has_head = has_head and keeps_head
    if has_head and head is not None:
        rows = (*rows, *head.all_rows)
        variables.update(head_variables or {})
    elif head is not None:
        rows = (*rows, *head.shared)
        variables.update(_of_another_head(head, tensors, head_variables or {}))
    others = tuple(
        name
        for other in form.heads.values()
        for row in other.all_rows
        for name in row.possible_names
    )
    table = WeightMap(rows, unused=(*form.unused, *others))
    foreign = sorted(name for name in tensors.outside if not table.knows(name))
    if foreign:
        warnings.warn(
            f"{files.name} has heads that Clozework does not use: {', '.join(foreign)}.",
            ClozeworkWarning,
            stacklevel=6,
        )
        table = WeightMap(rows, unused=(*table.unused, *foreign))
    shapes = {path: tuple(variable.shape) for path, variable in variables.items()}
    absent = set(variables)
    values = table.read(shapes, tensors, files.name)
    # To turn a matrix around takes longer than to read it, and both are done outside Python.
    read = map_ahead(lambda path: np.asarray(values[path]()), values, num_threads=2)
    for path, value in zip(values, read, strict=True):
        fill_variable(variables[path], value)
        absent.discard(path)
    return has_head, sorted(absent | skipped)


def write_hugging_face_weights(
    form: HuggingFaceFormat,
    directory: Path,
    values: Mapping[str, np.ndarray],
    *,
    head: HuggingFaceHead | None = None,
    head_values: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Writes `model.safetensors` with their names for our values."""
    values = _without_layers(values, (*form.skips, *(head.skips if head else ())))
    tensors = WeightMap(form.rows).write(values)
    if head is not None:
        tensors = {f"{form.prefix}{name}": tensor for name, tensor in tensors.items()}
        tensors.update(WeightMap(head.all_rows).write(head_values or {}))
    write_safetensors(directory / "model.safetensors", tensors, metadata={"format": "pt"})


def _of_another_head(
    head: HuggingFaceHead, tensors: Mapping[str, StoredTensor], variables: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns those of a head's variables for which another task's head has values that fit."""
    found = {}
    for path, variable in variables.items():
        for row in head.shared:
            if row.matches(path):
                [name] = row.sources(path, tensors)
                if name in tensors and not row.misfit(path, tuple(variable.shape), tensors[name]):
                    found[path] = variable
    return found


def _without_layers(by_path: Mapping[str, Any], layers: tuple[str, ...]) -> dict[str, Any]:
    return {
        path: value
        for path, value in by_path.items()
        if not any(path.startswith(f"{layer}/") for layer in layers)
    }


def tokenizer_source(
    form: HuggingFaceFormat, files: PresetFiles
) -> tuple[dict[str, Path], Path | None, dict[str, Any]]:
    """Returns what a tokenizer can be built from.

    Returns:
        Argument of our tokenizer -> file, empty unless all of them are there; `tokenizer.json` or
        None; and the options that `tokenizer_config.json` says.

    Raises:
        PresetNotFoundError: If there is neither.
    """
    name = "tokenizer_config.json"
    config = files.read_json(name) if files.has(name) else {}
    options = read_config_table(form.tokenizer_options, config, files.name, required=False)
    if form.tokenizer_files and all(files.has(name) for name in form.tokenizer_files):
        paths = {argument: files.path(name) for name, argument in form.tokenizer_files.items()}
        return paths, None, options
    if files.has("tokenizer.json"):
        return {}, files.path("tokenizer.json"), options
    names = " and ".join(map(repr, form.tokenizer_files))
    raise PresetNotFoundError(
        f"{files.name} has no tokenizer: {f'neither {names} nor' if names else 'there is no'} "
        f"'tokenizer.json'. Pass `preprocessor=None` to load the model alone."
    )


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON file as Hugging Face does: indented, UTF-8."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


class _WithoutPrefix(Mapping[str, StoredTensor]):
    """A checkpoint whose names have lost the prefix of a task model."""

    def __init__(self, tensors: Mapping[str, StoredTensor], prefix: str):
        self._tensors = tensors
        self._names = {name.removeprefix(prefix): name for name in tensors}
        is_task_model = any(name.startswith(prefix) for name in tensors)
        # What a task model has beside its encoder: heads, ours or of other classes.
        self.outside = [n for n in tensors if is_task_model and not n.startswith(prefix)]

    def __getitem__(self, name: str) -> StoredTensor:
        return self._tensors[self._names[name]]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self):
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
