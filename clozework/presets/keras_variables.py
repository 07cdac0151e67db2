"""Where Keras's weight files keep each layer of a model.

The path of a layer is made of class names in snake case, counted among the layers of a functional
model, and of attribute names below them: `layers/transformer_encoder_1/_feedforward_layer_norm`.
Walking the model here, in place of `Model.load_weights`, lets a misfit be named before anything is
changed, and the backbone be left out of a task's file.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from clozework.backend import fill_variable, own_attributes
from clozework.errors import PresetError, WeightsError
from clozework.presets.names import snake_case
from clozework.presets.stored_tensors import StoredTensors

__all__ = [
    "fill_from_keras_file",
    "merged_kernel",
    "plain_values",
    "quantized_policies",
    "stored_values",
    "walk_layers",
]


def walk_layers(model: keras.Model, *, skip=()) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yields path and layer for every layer of a functional model that has own variables.

    Args:
        model: The model.
        skip: Layers that are left out, with all below them.
    """
    visited = {id(model)}
    for layer in skip:
        visited.add(id(layer))
        visited.update(id(below) for below in layer._flatten_layers())
    counts: dict[str, int] = {}
    for layer in model.layers:
        name = snake_case(type(layer).__name__)
        number = counts.get(name, 0)
        counts[name] = number + 1
        yield from _walk(layer, f"layers/{name}_{number}" if number else f"layers/{name}", visited)


def stored_values(
    model: keras.Model, *, skip=(), policies: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Returns the values, `"layers/dense/vars/0"`, and the names of layers, `"layers/dense"`.

    LoRA adapters are added to what they adapt. `policies` are those of quantized layers, by path,
    that the config of the model says.

    Raises:
        PresetError: If a layer is quantized in a way that would not be found again.
    """
    values: dict[str, np.ndarray] = {}
    names: dict[str, str] = {}
    for path, layer in walk_layers(model, skip=skip):
        _check_quantization(layer, policies)
        names[path] = layer.name
        for i, value in enumerate(_values(layer)):
            values[f"{path}/vars/{i}"] = value
    return values, names


def plain_values(variables, model: keras.Model) -> dict[str, np.ndarray]:
    """Returns values by the path of the variable, with LoRA adapters added to what they adapt.

    Raises:
        PresetError: If a layer is quantized, for which other formats have no place.
    """
    merged, adapters = {}, set()
    for layer in model._flatten_layers(include_self=False):
        if not isinstance(layer, _CHANGEABLE):
            continue
        if layer.quantization_mode is not None:
            raise PresetError(
                f"{layer.name!r} has weights quantized to {layer.quantization_mode}, which the "
                f"format cannot hold, so nothing was written. Write the model as it was before."
            )
        if layer.lora_enabled:
            kernel, *parts = _adapted(layer)
            merged[kernel.path] = merged_kernel(layer)
            adapters |= {part.path for part in parts}
    values = {v.path: keras.ops.convert_to_numpy(v.value) for v in variables}
    return {path: merged.get(path, v) for path, v in values.items() if path not in adapters}


def merged_kernel(layer: keras.layers.Layer) -> np.ndarray:
    """Returns the kernel, or the embeddings, of a layer with its LoRA adapter added in float32."""
    kernel, down, up = (keras.ops.convert_to_numpy(v.value) for v in _adapted(layer))
    scale = layer.lora_alpha / layer.lora_rank
    change = np.matmul(down.astype("float32"), up.astype("float32"))
    return (kernel.astype("float32") + scale * change).astype(kernel.dtype)


def quantized_policies(model: keras.Model) -> dict[str, Any]:
    """Returns the precision of each quantized layer, by path."""
    policies = {}
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, _CHANGEABLE) and layer.quantization_mode is not None:
            policies[layer.path] = layer.dtype_policy
    return policies


def fill_from_keras_file(
    model: keras.Model, tensors: StoredTensors, where: str, *, skip=()
) -> None:
    """Gives every variable its stored value; nothing is changed unless all fit.

    Args:
        model: The model.
        tensors: Stored values by path.
        where: Name of the file, for messages.
        skip: Layers whose values are elsewhere.

    Raises:
        WeightsError: If a value is missing, superfluous or of another shape; it lists all.
    """
    variables = {
        f"{path}/vars/{i}": variable
        for path, layer in walk_layers(model, skip=skip)
        for i, variable in enumerate(_stored_variables(layer))
    }
    stored = {path for path in tensors if not path.startswith("optimizer/")}
    misfits = [f"{path!r} is missing" for path in variables if path not in stored]
    misfits += [f"{path!r} has no place in the model" for path in sorted(stored - set(variables))]
    for path in sorted(stored & set(variables)):
        shape, expected = tensors.entries[path].shape, tuple(variables[path].shape)
        if shape != expected:
            misfits.append(f"{path!r} is {shape}, not {expected} ({variables[path].path})")
    if misfits:
        lines = "\n  ".join(misfits)
        raise WeightsError(
            f"The weights of {where} do not fit the model; {len(misfits)} misfits:\n  {lines}\n"
            f"Is its config that of another model, or was an argument replaced?"
        )
    for path, variable in variables.items():
        fill_variable(variable, tensors[path])


def _walk(layer, path: str, visited: set[int]) -> Iterator[tuple[str, keras.layers.Layer]]:
    if id(layer) in visited:
        return
    visited.add(id(layer))
    if _own_variables(layer):
        yield path, layer
    for name in _attribute_names(layer):
        child = getattr(layer, name)
        if isinstance(child, keras.layers.Layer):
            yield from _walk(child, f"{path}/{name}", visited)


def _attribute_names(layer: keras.layers.Layer) -> list[str]:
    """Names of attributes that may hold a sub-layer, in Keras's order: public ones first."""
    own = {
        name
        for name, value in own_attributes(layer).items()
        if isinstance(value, keras.layers.Layer)
    }
    properties = {
        name
        for cls in type(layer).__mro__
        if issubclass(cls, keras.layers.Layer) and cls is not keras.layers.Layer
        for name, value in vars(cls).items()
        if isinstance(value, property) and f"_{name}" in own
    }
    return sorted(own | properties, key=lambda name: (name.startswith("_"), name))


def _check_quantization(layer: keras.layers.Layer, policies: Mapping[str, Any]) -> None:
    if not isinstance(layer, _CHANGEABLE) or layer.quantization_mode is None:
        return
    if layer.quantization_mode not in _STORED_MODES:
        raise PresetError(
            f"{layer.name!r} has weights quantized by {layer.quantization_mode}, which a preset "
            f"cannot hold, so nothing was written. It holds: {', '.join(_STORED_MODES)}."
        )
    if layer.path not in policies:
        raise PresetError(
            f"{layer.name!r} was quantized by itself, which the model does not know, so nothing "
            f"was written. Quantize with `model.quantize(..., filters=...)`."
        )
    config = layer.quantization_config
    if config is not None and not _is_usual(config):
        raise PresetError(
            f"{layer.name!r} was quantized with an activation quantizer of your own, which a "
            f"preset cannot hold, so nothing was written. Use that of {type(config).__name__}()."
        )


def _is_usual(config) -> bool:
    serialize = keras.saving.serialize_keras_object
    usual = type(config)()
    return serialize(config.activation_quantizer) == serialize(usual.activation_quantizer)


def _values(layer: keras.layers.Layer) -> list[np.ndarray]:
    """The layer's values in Keras's order of storing, with an adapter added to what it adapts."""
    if not isinstance(layer, _CHANGEABLE) or not layer.lora_enabled:
        return [keras.ops.convert_to_numpy(v.value) for v in _stored_variables(layer)]
    store: dict[str, Any] = {}
    layer.save_own_variables(store)
    values = [keras.ops.convert_to_numpy(store[str(i)]) for i in range(len(store))]
    if layer.quantization_mode is None:
        # Keras adds in the precision of computing, which may be less than that of the kernel.
        values[0] = merged_kernel(layer)
    return values


def _adapted(layer: keras.layers.Layer) -> tuple:
    """The variable that has an adapter, and the adapter's two."""
    if isinstance(layer, keras.layers.Embedding):
        return layer._embeddings, layer.lora_embeddings_a, layer.lora_embeddings_b
    return layer._kernel, layer.lora_kernel_a, layer.lora_kernel_b


def _stored_variables(layer: keras.layers.Layer) -> list:
    """The layer's variables in the order of `_values`."""
    if not isinstance(layer, _CHANGEABLE) or layer.quantization_mode is None:
        return _own_variables(layer)
    own = own_attributes(layer)
    names = layer.variable_serialization_spec[layer.quantization_mode]
    variables = (own.get(name, own.get(f"_{name}")) for name in names)
    return [variable for variable in variables if variable is not None]


# Keras's layers that can be given adapters or be quantized.
_CHANGEABLE = (keras.layers.Dense, keras.layers.EinsumDense, keras.layers.Embedding)
_STORED_MODES = ("int8", "int4", "float8")


def _own_variables(layer: keras.layers.Layer) -> list:
    """The layer's variables without those of sub-layers, in Keras's order of storing."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]
