"""LoRA adapters in the directories of Hugging Face's `peft`, read and written by the weight tables.

PEFT adapts a whole kernel, `(out, in)` with all heads in `out`; Keras the last axis of its own
kernels, `(in, heads, head_dim)` for queries and the like. One can be written as the other without
loss, with another rank.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clozework.errors import PresetError, WeightsError
from clozework.presets.files import PresetFiles
from clozework.presets.hugging_face import write_json
from clozework.presets.hugging_face_format import HuggingFaceFormat
from clozework.presets.tensor_files import read_safetensors, write_safetensors
from clozework.presets.weight_map import Layer, WeightMap, stored_shape

__all__ = ["Adapter", "read_adapters", "write_adapters"]

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
# What would change the numbers in a way that Keras's adapters don't have.
_FIXED = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "use_dora": (False, None),
    "fan_in_fan_out": (False, None),
    "layer_replication": (None,),
    "modules_to_save": (None, []),
    "lora_bias": (False, None),
}


@dataclass(frozen=True)
class Adapter:
    """A change of a kernel, `down @ up`.

    Attributes:
        down: `(..., rank)`, the kernel's shape but for the last axis.
        up: `(rank, last)`.
    """

    down: np.ndarray
    up: np.ndarray

    @property
    def rank(self) -> int:
        """How many directions it has."""
        return self.up.shape[0]

    def padded(self, rank: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns both factors with zeros up to a larger rank."""
        missing = rank - self.rank
        axes = [(0, 0)] * (self.down.ndim - 1)
        return np.pad(self.down, [*axes, (0, missing)]), np.pad(self.up, [(0, missing), (0, 0)])


@dataclass(frozen=True)
class _Kind:
    """How PEFT names both factors, and which shape it takes them for."""

    down: str
    up: str
    stored_shape: Callable[[str, Sequence[int]], tuple[int, ...]]

    def has_down(self, name: str) -> bool:
        return name.endswith(self.down)

    def has_up(self, name: str) -> bool:
        return name.endswith(self.up)

    def module(self, name: str) -> str:
        return name.removeprefix(_PREFIX).removesuffix(self.down)

    def up_name(self, name: str) -> str:
        return name.removesuffix(self.down) + self.up


_OF_KERNELS = _Kind(".lora_A.weight", ".lora_B.weight", stored_shape)
# `(vocabulary, width)` there as here, the vocabulary being the input.
_OF_EMBEDDINGS = _Kind(
    ".lora_embedding_A", ".lora_embedding_B", lambda path, shape: tuple(reversed(shape))
)


def _kind(path: str) -> _Kind:
    return _OF_EMBEDDINGS if path.endswith("/embeddings") else _OF_KERNELS


def read_adapters(
    files: PresetFiles, form: HuggingFaceFormat, shapes: Mapping[str, Sequence[int]]
) -> dict[str, Adapter]:
    """Returns the adapters of a PEFT directory by the path of our kernel.

    Args:
        files: The directory.
        form: The family's tables.
        shapes: Shape of each kernel that may have an adapter, by path.

    Raises:
        PresetError: If they are of a kind that Keras does not have.
        WeightsError: If they do not fit the model; it lists all misfits.
    """
    config = files.read_json(_CONFIG)
    problems = [
        f"{name!r} is {config[name]!r}, not {allowed[0]!r}"
        for name, allowed in _FIXED.items()
        if name in config and config[name] not in allowed
    ]
    if problems:
        raise PresetError(
            f"The adapters of {files.name} are of a kind that Clozework does not have: "
            f"{'; '.join(problems)}."
        )
    tensors = read_safetensors(files, _WEIGHTS)
    table = WeightMap(form.rows)
    layers = {path: _layer_of(table, path) for path in shapes}
    paths = {layer[1]: (path, layer[0]) for path, layer in layers.items() if layer is not None}
    adapters, misfits = {}, []
    for name in sorted(tensors):
        kind = next((kind for kind in (_OF_KERNELS, _OF_EMBEDDINGS) if kind.has_down(name)), None)
        module = kind.module(name).removeprefix(form.prefix) if kind else ""
        path, row = paths.get(module, ("", None))
        other = kind.up_name(name) if kind else ""
        if kind is not None and row is not None and kind is _kind(path) and other in tensors:
            factors = tensors[name].read(), tensors[other].read()
            shape = _turned_shape(row, shapes[path])
            outputs, inputs = kind.stored_shape(path, shape)
            found = [factor.shape for factor in factors]
            if found != [(len(factors[0]), inputs), (outputs, len(factors[0]))]:
                misfits.append(f"{name!r} is {found[0]} and {found[1]}, not for {outputs, inputs}")
                continue
            down, up = factors
            up = up * _scale(config, module, len(down))
            adapters[path] = _turned(row, _as_ours(down, up, shape, outputs))
        elif not (_OF_KERNELS.has_up(name) or _OF_EMBEDDINGS.has_up(name)):
            misfits.append(f"{name!r} belongs to no layer of the backbone")
    if misfits or not adapters:
        lines = "\n  ".join(misfits or ["there is no adapter in it"])
        raise WeightsError(f"The adapters of {files.name} do not fit the model:\n  {lines}")
    return adapters


def write_adapters(
    directory: Path, form: HuggingFaceFormat, adapters: Mapping[str, Adapter]
) -> None:
    """Writes adapters, by the path of our kernel, as PEFT reads them onto `AutoModel`."""
    table = WeightMap(form.rows)
    tensors, ranks = {}, {}
    for path, adapter in adapters.items():
        layer = _layer_of(table, path)
        if layer is None:
            raise PresetError(
                f"The kernel {path!r} has another form in `transformers`, in which no adapters can "
                f"be written. `save_lora_weights` keeps them."
            )
        (row, module), kind = layer, _kind(path)
        down, up = _as_theirs(path, _turned(row, adapter))
        tensors[f"{_PREFIX}{module}{kind.down}"] = down
        tensors[f"{_PREFIX}{module}{kind.up}"] = up
        ranks[module] = len(down)
    rank = next(iter(ranks.values()))
    others = {module: own for module, own in ranks.items() if own != rank}
    write_safetensors(directory / _WEIGHTS, tensors)
    # The factors hold the scale: alpha is the rank, everywhere.
    config = {
        "peft_type": "LORA",
        "task_type": "FEATURE_EXTRACTION",
        "base_model_name_or_path": None,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": rank,
        "rank_pattern": others,
        "alpha_pattern": others,
        "target_modules": sorted(ranks),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
    }
    write_json(directory / _CONFIG, config)


def _layer_of(table: WeightMap, path: str) -> tuple[Layer, str] | None:
    """Returns the row of a kernel and their module, if there is exactly one."""
    layer = table.layer_of(path)
    # Their encoder and decoder share a tensor, but PEFT adapts each module for itself.
    is_shared = layer is not None and _kind(path) is _OF_EMBEDDINGS and len(layer[0].modules) > 1
    return None if is_shared else layer


def _turned(row: Layer, adapter: Adapter) -> Adapter:
    """Returns an adapter of a kernel with its inputs in front, or back."""
    return Adapter(row.with_inputs_first(adapter.down), adapter.up)


def _turned_shape(row: Layer, shape: Sequence[int]) -> tuple[int, ...]:
    return row.with_inputs_first(np.empty(shape, dtype=bool)).shape


def _scale(config: Mapping[str, Any], module: str, rank: int) -> float:
    """What PEFT multiplies an adapter by: https://huggingface.co/docs/peft/package_reference/lora."""
    patterns = config.get("alpha_pattern") or {}
    own = [alpha for name, alpha in patterns.items() if f".{module}".endswith(f".{name}")]
    alpha = own[0] if own else config.get("lora_alpha", 8)
    if not isinstance(alpha, int | float) or isinstance(alpha, bool):
        raise PresetError(f"'lora_alpha' of {module!r} must be a number. Received: {alpha!r}.")
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _as_ours(down: np.ndarray, up: np.ndarray, shape: tuple[int, ...], outputs: int) -> Adapter:
    """Returns an adapter of ours for theirs, `(rank, in)` and `(out, rank)`."""
    last = shape[-1]
    if last == outputs:
        return Adapter(down.T.reshape(*shape[:-1], -1), np.ascontiguousarray(up.T))
    # The heads share our `up`: it has to span what all of theirs reach.
    per_head = up.reshape(-1, last, len(down))
    reached = per_head.transpose(0, 2, 1).reshape(-1, last)
    _, _, basis = np.linalg.svd(reached.astype("float64"), full_matrices=False)
    coefficients = per_head.transpose(0, 2, 1) @ basis.T
    ours = np.einsum("ri,hrk->ihk", down.astype("float64"), coefficients)
    return Adapter(ours.reshape(*shape[:-1], -1).astype(down.dtype), basis.astype(down.dtype))


def _as_theirs(path: str, adapter: Adapter) -> tuple[np.ndarray, np.ndarray]:
    """Returns `(rank, in)` and `(out, rank)` for an adapter of ours."""
    shape = (*adapter.down.shape[:-1], adapter.up.shape[1])
    outputs, inputs = _kind(path).stored_shape(path, shape)
    heads = outputs // shape[-1]
    # Each head has directions of its own in theirs.
    down = adapter.down.reshape(inputs, heads * adapter.rank).T
    up = np.kron(np.eye(heads, dtype=adapter.up.dtype), adapter.up.T)
    return np.ascontiguousarray(down), np.ascontiguousarray(up)
