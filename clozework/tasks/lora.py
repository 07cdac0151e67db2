"""LoRA: small adapters that are trained in place of a backbone's weights.

Paper: Hu et al., 2021, https://arxiv.org/abs/2106.09685
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np

from clozework.errors import ConfigError, PresetError, WeightsError
from clozework.presets import (
    Adapter,
    LocalFiles,
    family_of,
    merged_kernel,
    read_adapters,
    read_h5,
    staged_directory,
    write_adapters,
    write_h5,
)

__all__ = ["add_adapters", "export_adapters", "load_adapters", "merge_adapters", "save_adapters"]

_SUFFIX = ".lora.h5"
_ADAPTABLE = (keras.layers.Dense, keras.layers.EinsumDense, keras.layers.Embedding)


def add_adapters(backbone, rank: int, names: Sequence[str], alpha: float | None = None) -> None:
    """See `Backbone.enable_lora`."""
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
        raise ConfigError(f"`rank` must be a positive integer. Received: {rank!r}.")
    if _adapted(backbone):
        raise ConfigError(
            f"{backbone.name!r} has adapters already. Merge them with `merge_lora()`, or load the "
            f"backbone anew."
        )
    chosen = [layer for layer in _adaptable(backbone).values() if layer.name in names]
    if not chosen:
        there = sorted({layer.name for layer in _adaptable(backbone).values()})
        raise ConfigError(
            f"{backbone.name!r} has no layers named {', '.join(map(repr, names))} to adapt. It "
            f"has: {', '.join(map(repr, there))}."
        )
    _adapt(backbone, chosen, rank, alpha)


def merge_adapters(backbone) -> None:
    """See `Backbone.merge_lora`."""
    for layer in _checked(backbone).values():
        if layer.quantization_mode is None:
            _kernel(layer).assign(merged_kernel(layer))
        else:
            # Keras adds the adapter to the floats behind the integers, and rounds anew.
            store: dict = {}
            layer.save_own_variables(store)
            layer.load_own_variables(store)
        for variable in _parts(layer):
            layer._untrack_variable(variable)
        layer.lora_enabled = False
        layer.lora_rank = layer.lora_alpha = None
        if layer.quantization_mode is None:
            _kernel(layer).trainable = True
    backbone.trainable = True


def save_adapters(backbone, path) -> None:
    """See `Backbone.save_lora_weights`."""
    path = _checked_path(path)
    layers = _checked(backbone)
    ranks = {layer.lora_rank for layer in layers.values()}
    if len(ranks) > 1:
        raise PresetError(f"The adapters have different ranks, {sorted(ranks)}; a file has one.")
    values: dict[str, np.ndarray] = {"lora/vars/rank": np.array(ranks.pop())}
    for i, layer in layers.items():
        down, up = (keras.ops.convert_to_numpy(part.value) for part in _parts(layer))
        values[f"lora/{i}/vars/lora_kernel_a"] = down
        # The file has no alpha: it means the rank.
        values[f"lora/{i}/vars/lora_kernel_b"] = up * (layer.lora_alpha / layer.lora_rank)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".lora-") as staging:
        write_h5(staging, path.name, values, {})
        Path(staging, path.name).replace(path)


def load_adapters(backbone, path) -> None:
    """See `Backbone.load_lora_weights`."""
    path = Path(path).expanduser()
    if path.is_dir():
        adapters = dict(_from_peft(backbone, path))
    else:
        adapters = _from_file(backbone, _checked_path(path))
    rank = max(adapter.rank for adapter in adapters.values())
    layers = _adaptable(backbone)
    adapted = _adapted(backbone)
    if not adapted:
        _adapt(backbone, [layers[i] for i in adapters], rank)
        adapted = _adapted(backbone)
    ranks = {layer.lora_rank for layer in adapted.values()}
    if adapted.keys() != adapters.keys() or ranks != {rank}:
        raise WeightsError(
            f"{str(path)!r} has adapters of rank {rank} for {len(adapters)} layers, but the model "
            f"has {len(adapted)} of rank {sorted(ranks)}. Load them into a model without adapters."
        )
    for i, adapter in adapters.items():
        down, up = adapter.padded(rank)
        for variable, value in zip(_parts(layers[i]), (down, up), strict=True):
            variable.assign(value)
        layers[i].lora_alpha = rank


def export_adapters(backbone, directory) -> None:
    """See `Backbone.export_lora_to_peft`."""
    form = family_of(type(backbone)).hugging_face
    adapters = {}
    for layer in _checked(backbone).values():
        down, up = (keras.ops.convert_to_numpy(part.value) for part in _parts(layer))
        scale = layer.lora_alpha / layer.lora_rank
        adapters[_kernel(layer).path] = Adapter(down, up * scale)
    with staged_directory(directory) as staged:
        write_adapters(staged, form, adapters)


def _from_file(backbone, path: Path) -> dict[int, Adapter]:
    files = LocalFiles(path.parent)
    values = read_h5(files, path.name)
    layers = _adaptable(backbone)
    adapters = {}
    for name in values:
        _, number, *rest = name.split("/")
        if rest != ["vars", "lora_kernel_a"]:
            continue
        layer = layers.get(int(number)) if number.isdigit() else None
        down, up = values[name], values.get(f"lora/{number}/vars/lora_kernel_b")
        shape = None if layer is None else tuple(_kernel(layer).shape)
        fits = shape and up is not None and (*down.shape[:-1], *up.shape[1:]) == shape
        if not fits or down.shape[-1] != up.shape[0]:
            raise WeightsError(
                f"{str(path)!r}: the adapter {number!r} does not fit layer {number} of the "
                f"backbone{f' ({layer.path})' if layer else ''}. Is it another model's?"
            )
        adapters[int(number)] = Adapter(np.asarray(down), np.asarray(up))
    if not adapters:
        raise WeightsError(f"{str(path)!r} holds no adapters.")
    return adapters


def _from_peft(backbone, directory: Path) -> Iterator[tuple[int, Adapter]]:
    layers = _adaptable(backbone)
    kernels = {_kernel(layer).path: (i, tuple(_kernel(layer).shape)) for i, layer in layers.items()}
    form = family_of(type(backbone)).hugging_face
    shapes = {path: shape for path, (_, shape) in kernels.items()}
    for path, adapter in read_adapters(LocalFiles(directory), form, shapes).items():
        yield kernels[path][0], adapter


def _adapt(backbone, chosen, rank: int, alpha: float | None = None) -> None:
    backbone.trainable = True
    for layer in backbone._flatten_layers(include_self=False):
        layer.trainable = False
    for layer in chosen:
        layer.trainable = True
        layer.enable_lora(rank, lora_alpha=alpha)
        # The bias of an adapted layer, too, which no file of adapters holds.
        for variable in layer.weights:
            variable.trainable = any(variable is part for part in _parts(layer))


def _adaptable(backbone) -> dict[int, keras.layers.Layer]:
    """The layers that can have adapters, by KerasHub's number: among all that have weights."""
    layers = [layer for layer in backbone._flatten_layers(include_self=False) if layer.weights]
    return {i: layer for i, layer in enumerate(layers) if isinstance(layer, _ADAPTABLE)}


def _adapted(backbone) -> dict[int, keras.layers.Layer]:
    return {i: layer for i, layer in _adaptable(backbone).items() if layer.lora_enabled}


def _checked(backbone) -> dict[int, keras.layers.Layer]:
    layers = _adapted(backbone)
    if not layers:
        raise ConfigError(
            f"{backbone.name!r} has no adapters. Call `enable_lora(rank)` or `load_lora_weights` "
            f"first."
        )
    return layers


def _checked_path(path) -> Path:
    path = Path(path).expanduser().absolute()
    if not path.name.endswith(_SUFFIX):
        raise ConfigError(f"A file of adapters ends in {_SUFFIX!r}. Received: {str(path)!r}.")
    return path


def _kernel(layer):
    return layer._embeddings if isinstance(layer, keras.layers.Embedding) else layer._kernel


def _parts(layer) -> tuple:
    if isinstance(layer, keras.layers.Embedding):
        return layer.lora_embeddings_a, layer.lora_embeddings_b
    return layer.lora_kernel_a, layer.lora_kernel_b
