"""Where Keras's weight files keep each layer of a model.

The path of a layer is made of class names in snake case, counted among the layers of a functional
model, and of attribute names below them: `layers/transformer_encoder_1/_feedforward_layer_norm`.
Walking the model here, in place of `Model.load_weights`, lets a misfit be named before anything is
changed, and the backbone be left out of a task's file.
"""

from collections.abc import Iterator, Mapping

import keras
import numpy as np

from clozework.backend import fill_variable, own_attributes
from clozework.errors import PresetError, WeightsError
from clozework.presets.names import snake_case

__all__ = ["fill_from_keras_file", "stored_values", "walk_layers"]


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


def stored_values(model: keras.Model, *, skip=()) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Returns the values, `"layers/dense/vars/0"`, and the names of layers, `"layers/dense"`.

    Raises:
        PresetError: If a layer has adapters or is quantized, for which the format has no place.
    """
    values: dict[str, np.ndarray] = {}
    names: dict[str, str] = {}
    for path, layer in walk_layers(model, skip=skip):
        _check_is_plain(layer)
        names[path] = layer.name
        for i, variable in enumerate(_own_variables(layer)):
            values[f"{path}/vars/{i}"] = keras.ops.convert_to_numpy(variable.value)
    return values, names


def fill_from_keras_file(
    model: keras.Model, values: Mapping[str, np.ndarray], where: str, *, skip=()
) -> None:
    """Gives every variable its stored value; nothing is changed unless all fit.

    Args:
        model: The model.
        values: Stored values by path, read when asked for.
        where: Name of the file, for messages.
        skip: Layers whose values are elsewhere.

    Raises:
        WeightsError: If a value is missing, superfluous or of another shape; it lists all.
    """
    variables = {
        f"{path}/vars/{i}": variable
        for path, layer in walk_layers(model, skip=skip)
        for i, variable in enumerate(_own_variables(layer))
    }
    stored = {path for path in values if not path.startswith("optimizer/")}
    misfits = [f"{path!r} is missing" for path in variables if path not in stored]
    misfits += [f"{path!r} has no place in the model" for path in sorted(stored - set(variables))]
    for path in sorted(stored & set(variables)):
        shape, expected = tuple(values[path].shape), tuple(variables[path].shape)
        if shape != expected:
            misfits.append(f"{path!r} is {shape}, not {expected} ({variables[path].path})")
    if misfits:
        lines = "\n  ".join(misfits)
        raise WeightsError(
            f"The weights of {where} do not fit the model; {len(misfits)} misfits:\n  {lines}\n"
            f"Is its config that of another model, or was an argument replaced?"
        )
    for path, variable in variables.items():
        fill_variable(variable, values[path])


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


def _check_is_plain(layer: keras.layers.Layer) -> None:
    if not isinstance(layer, _CHANGEABLE):
        return
    if layer.lora_enabled:
        kind = "LoRA adapters"
    elif layer.quantization_mode is not None:
        kind = f"weights quantized to {layer.quantization_mode}"
    else:
        return
    raise PresetError(
        f"{layer.name!r} has {kind}, which a preset cannot hold, so nothing was written. Save the "
        f"model with `model.save_weights(...)`, or before it is changed in this way."
    )


# Keras's layers that can be given adapters or be quantized.
_CHANGEABLE = (keras.layers.Dense, keras.layers.EinsumDense, keras.layers.Embedding)


def _own_variables(layer: keras.layers.Layer) -> list:
    """The layer's variables without those of sub-layers, in Keras's order of storing."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]
