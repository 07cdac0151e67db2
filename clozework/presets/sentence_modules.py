"""What sentence-transformers stores beside a model of `transformers`, read and written.

`modules.json` lists the steps from a text to its vector, each with a folder of its own:
https://sbert.net/docs/sentence_transformer/usage/custom_models.html
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from clozework.errors import PresetError, WeightsError
from clozework.presets.files import PresetFiles, SubFolder
from clozework.presets.tensor_files import open_tensors, write_safetensors

__all__ = [
    "SentenceModules",
    "projection_weights",
    "read_sentence_modules",
    "transformer_folder",
    "write_sentence_modules",
]

_MODULES = "modules.json"
_SETTINGS = "config_sentence_transformers.json"
_LENGTHS = "sentence_bert_config.json"
_TOKENIZER = "tokenizer_config.json"
# Pooling mode -> their switch. `include_prompt` is another thing than a mode.
_POOLING = {
    "mean": "pooling_mode_mean_tokens",
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
_ACTIVATIONS = {
    "gelu": "torch.nn.modules.activation.GELU",
    "linear": "torch.nn.modules.linear.Identity",
    "relu": "torch.nn.modules.activation.ReLU",
    "sigmoid": "torch.nn.modules.activation.Sigmoid",
    "silu": "torch.nn.modules.activation.SiLU",
    "tanh": "torch.nn.modules.activation.Tanh",
}
_NAMES_OF_ACTIVATIONS = {path.rpartition(".")[2]: name for name, path in _ACTIVATIONS.items()}
_FULL_ROWS = {"padding": "max_length", "return_attention_mask": True}
_TYPES = "sentence_transformers.models."


@dataclass(frozen=True)
class SentenceModules:
    """The steps from the vectors of tokens to that of a text.

    Attributes:
        pooling_mode: `"mean"`, `"cls"`, `"max"` or `"lasttoken"`.
        normalize: Whether vectors get length 1 at the end.
        projections: Dense layers between the two, as `TextEmbedder` takes them.
        folders: Where the weights of each dense layer are.
        max_length: Most tokens of a text; None where nothing is said of it.
        prompts: Name -> what is put before a text.
        default_prompt_name: The prompt that is used where none is named.
        has_full_rows: Whether all texts are padded to the same length, and pooling leaves the
            padding out, in a model that is not told of it.
    """

    pooling_mode: str
    normalize: bool
    projections: tuple[Mapping[str, Any], ...] = ()
    folders: tuple[str, ...] = ()
    max_length: int | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    has_full_rows: bool = False

    def embedder_arguments(self) -> dict[str, Any]:
        """Returns the arguments of a `TextEmbedder` that does the same."""
        return {
            "pooling_mode": self.pooling_mode,
            "normalize": self.normalize,
            "projections": self.projections,
            "prompts": dict(self.prompts),
            "default_prompt_name": self.default_prompt_name,
        }


def read_sentence_modules(files: PresetFiles) -> SentenceModules | None:
    """Returns the steps that a directory describes, or None where it has no `modules.json`.

    Raises:
        PresetError: If there is a step, or an option of one, that Clozework does not compute.
    """
    if not files.has(_MODULES):
        return None
    steps = _read_steps(files)
    kinds = [kind for kind, _ in steps]
    normalize = kinds[-1:] == ["Normalize"]
    inner = steps[2 : len(steps) - normalize]
    if kinds[:2] != ["Transformer", "Pooling"] or any(
        kind not in ("Dense", "Dropout") for kind, _ in inner
    ):
        raise PresetError(
            f"{_MODULES!r} of {files.name} has the steps {', '.join(kinds) or 'none'}. Clozework "
            f"has Transformer, Pooling, any number of Dense, and Normalize, in this order."
        )
    dense = [folder for kind, folder in inner if kind == "Dense"]
    model_files = SubFolder(files, steps[0][1]) if steps[0][1] else files
    settings = files.read_json(_SETTINGS) if files.has(_SETTINGS) else {}
    return SentenceModules(
        pooling_mode=_read_pooling(files, steps[1][1]),
        normalize=normalize,
        projections=tuple(_read_projection(files, folder) for folder in dense),
        folders=tuple(dense),
        max_length=_read_length(model_files),
        prompts={name: text for name, text in (settings.get("prompts") or {}).items() if text},
        default_prompt_name=settings.get("default_prompt_name"),
        has_full_rows=_FULL_ROWS.items() <= _processing_of_texts(model_files).items(),
    )


def transformer_folder(files: PresetFiles) -> str:
    """Returns the folder of the model, which versions before 2 kept apart; "" for the top."""
    steps = _read_steps(files) if files.has(_MODULES) else []
    return steps[0][1] if steps and steps[0][0] == "Transformer" else ""


def projection_weights(files: PresetFiles, folder: str) -> list[np.ndarray]:
    """Returns kernel and, where there is one, bias of a dense step, as Keras has them."""
    tensors = open_tensors(SubFolder(files, folder))
    names = [name for name in ("linear.weight", "linear.bias") if name in tensors]
    surplus = sorted(set(tensors) - set(names))
    if surplus or "linear.weight" not in names:
        raise WeightsError(
            f"The weights in {folder!r} of {files.name} are {', '.join(sorted(tensors))}; "
            f"expected linear.weight and perhaps linear.bias."
        )
    return [np.asarray(tensors[name]).T for name in names]


def write_sentence_modules(
    directory: Path,
    modules: SentenceModules,
    weights: Sequence[Sequence[np.ndarray]],
    *,
    hidden_dim: int,
) -> None:
    """Writes what sentence-transformers needs beside a model of `transformers`.

    Args:
        directory: Where the model is.
        modules: The steps.
        weights: Kernel and bias of each dense step.
        hidden_dim: Width of the vectors of tokens.
    """
    steps = [("Transformer", ""), ("Pooling", "1_Pooling")]
    pooling: dict[str, Any] = dict.fromkeys(_POOLING.values(), False)
    pooling[_POOLING[modules.pooling_mode]] = True
    _write(directory / "1_Pooling", {"word_embedding_dimension": hidden_dim, **pooling})
    width = hidden_dim
    for options, arrays in zip(modules.projections, weights, strict=True):
        folder = f"{len(steps)}_Dense"
        steps.append(("Dense", folder))
        config = {
            "in_features": width,
            "out_features": options["units"],
            "bias": options["use_bias"],
            "activation_function": _their_activation(options["activation"]),
        }
        _write(directory / folder, config)
        names = ("linear.weight", "linear.bias")
        tensors = {name: array.T for name, array in zip(names, arrays, strict=False)}
        write_safetensors(directory / folder / "model.safetensors", tensors)
        width = options["units"]
    if modules.normalize:
        steps.append(("Normalize", f"{len(steps)}_Normalize"))
    listed = [
        {"idx": i, "name": str(i), "path": folder, "type": f"{_TYPES}{kind}"}
        for i, (kind, folder) in enumerate(steps)
    ]
    (directory / _MODULES).write_text(json.dumps(listed, indent=2), encoding="utf-8")
    settings = {
        "prompts": dict(modules.prompts),
        "default_prompt_name": modules.default_prompt_name,
        "similarity_fn_name": "cosine",
    }
    (directory / _SETTINGS).write_text(json.dumps(settings, indent=2), encoding="utf-8")
    lengths: dict[str, Any] = {"max_seq_length": modules.max_length, "do_lower_case": False}
    if modules.has_full_rows:
        lengths["processing_kwargs"] = {"text": _FULL_ROWS}
    (directory / _LENGTHS).write_text(json.dumps(lengths, indent=2), encoding="utf-8")


def _read_steps(files: PresetFiles) -> list[tuple[str, str]]:
    """Returns kind and folder of each step."""
    try:
        listed = json.loads(files.read_text(_MODULES))
        steps = sorted(listed, key=lambda step: step["idx"])
        return [(str(step["type"]).rpartition(".")[2], str(step["path"])) for step in steps]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise PresetError(
            f"File {_MODULES!r} of preset {files.name} is not the list of steps that was "
            f"expected ({error}). Get the file anew from its source."
        ) from error


def _read_pooling(files: PresetFiles, folder: str) -> str:
    config = SubFolder(files, folder).read_json("config.json")
    named = config.get("pooling_mode")
    switched = [
        name for name, value in config.items() if name.startswith("pooling_mode_") and value
    ]
    chosen = [named] if isinstance(named, str) else switched
    modes = [mode for mode, switch in _POOLING.items() if chosen in ([switch], [mode])]
    if not modes or config.get("include_prompt") is False:
        raise PresetError(
            f"{files.name} pools by {' and '.join(map(str, chosen)) or 'nothing'}"
            f"{', without the prompt' if config.get('include_prompt') is False else ''}. "
            f"Clozework has one of {', '.join(_POOLING)}, prompts included."
        )
    return modes[0]


def _read_projection(files: PresetFiles, folder: str) -> dict[str, Any]:
    config = SubFolder(files, folder).read_json("config.json")
    activation = (
        str(config.get("activation_function", "Tanh")).rpartition(".")[2].removesuffix("()")
    )
    units = config.get("out_features")
    if activation not in _NAMES_OF_ACTIVATIONS or not isinstance(units, int):
        raise PresetError(
            f"The dense step {folder!r} of {files.name} has out_features={units!r} and the "
            f"activation {activation!r}. Clozework has: {', '.join(_NAMES_OF_ACTIVATIONS)}."
        )
    return {
        "units": units,
        "activation": _NAMES_OF_ACTIVATIONS[activation],
        "use_bias": bool(config.get("bias", True)),
    }


def _read_length(files: PresetFiles) -> int | None:
    config = files.read_json(_LENGTHS) if files.has(_LENGTHS) else {}
    if config.get("do_lower_case"):
        raise PresetError(
            f"{files.name} lowercases texts before its tokenizer does its work "
            f"('do_lower_case' in {_LENGTHS!r}), which Clozework does not. Its numbers would be "
            f"wrong."
        )
    # Since version 5 the tokenizer says it.
    tokenizer = files.read_json(_TOKENIZER) if files.has(_TOKENIZER) else {}
    length = config.get("max_seq_length") or tokenizer.get("model_max_length")
    return length if isinstance(length, int) and length > 0 else None


def _processing_of_texts(files: PresetFiles) -> dict[str, Any]:
    """Returns how their tokenizer is called."""
    config = files.read_json(_LENGTHS) if files.has(_LENGTHS) else {}
    options = config.get("processing_kwargs")
    of_texts = options.get("text") if isinstance(options, dict) else None
    return of_texts if isinstance(of_texts, dict) else {}


def _their_activation(name: str) -> str:
    if name not in _ACTIVATIONS:
        raise PresetError(
            f"sentence-transformers is not told of the activation {name!r} of a projection. "
            f"It can be one of: {', '.join(_ACTIVATIONS)}."
        )
    return _ACTIVATIONS[name]


def _write(folder: Path, config: Mapping[str, Any]) -> None:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
