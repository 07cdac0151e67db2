"""Layers of a model that are alike, of which JAX traces one.

Before a compiled program is found among those that are kept, Python goes through all layers of a
model to describe it, and through all operations of each: for twelve blocks that takes longer than
to read the program. Here the first of like layers is traced, and the others are described as calls
of the same function, which XLA puts in their places.
"""

import contextlib
import itertools
from contextvars import ContextVar
from typing import Any

__all__ = ["shared_traces", "traced_alone", "traced_once"]

# Within `shared_traces`: what describes a layer -> the function of all such layers.
_TRACED: ContextVar[dict[Any, Any] | None] = ContextVar("traced layers", default=None)
# Identities of the layers that have a trace of their own.
_ALONE: ContextVar[frozenset[int]] = ContextVar("layers traced alone", default=frozenset())


@contextlib.contextmanager
def shared_traces():
    """Within it, `traced_once` goes through one of the layers that are alike; on JAX alone."""
    with _set(_TRACED, {}):
        yield


def traced_once(layer, call, args, kwargs, *, functions=()):
    """Returns `call(*args, **kwargs)`; layers that are alike share a trace within `shared_traces`.

    Args:
        layer: What `call` computes.
        call: The layer's own `__call__`.
        args, kwargs: Of the call.
        functions: What the layer was given to compute with. Of a function its configuration has
            the name alone, which another may have as well.
    """
    traced = _TRACED.get()
    if traced is None or not layer.built or id(layer) in _ALONE.get():
        return call(*args, **kwargs)
    import jax
    import numpy as np
    from keras.src.backend.common.variables import AutocastScope

    leaves, structure = jax.tree.flatten((args, kwargs))
    is_tensor = [isinstance(leaf, (jax.Array, np.ndarray)) for leaf in leaves]
    tensors = list(itertools.compress(leaves, is_tensor))
    if not any(isinstance(tensor, jax.core.Tracer) for tensor in tensors):
        return call(*args, **kwargs)
    # The others, such as `training`, are part of what is traced.
    others = tuple(None if known else leaf for leaf, known in zip(leaves, is_tensor, strict=True))
    variables = layer.variables
    key = (_description(layer, variables), tuple(map(id, functions)), structure, others)
    if key not in traced:
        traced[key] = _TracedLayer(variables, call, structure, others)
    with AutocastScope(None):
        values = [variable.value for variable in variables]
    outputs, changes = traced[key].program(values, tensors)
    for i, value in changes.items():
        variables[i].assign(value)
    return outputs


class _TracedLayer:
    """A layer as a function of the values of its variables, which JAX traces once.

    Attributes:
        program: Takes the values of all variables, and the tensors among the layer's arguments.
            Returns the layer's outputs, and new values by the places of the variables that the
            layer assigns, such as the state of random numbers.
    """

    def __init__(self, variables, call, structure, others):
        import jax

        self._variables, self._call = variables, call
        self._structure, self._others = structure, others
        self.program = jax.jit(self._outputs)

    def _outputs(self, values, tensors):
        import jax
        import keras

        tensors = iter(tensors)
        leaves = [next(tensors) if leaf is None else leaf for leaf in self._others]
        args, kwargs = jax.tree.unflatten(self._structure, leaves)
        pairs = list(zip(self._variables, values, strict=True))
        with _set(_TRACED, None), keras.StatelessScope(state_mapping=pairs) as scope:
            outputs = self._call(*args, **kwargs)
        after = map(scope.get_current_value, self._variables)
        changes = zip(values, after, strict=True)
        return outputs, {i: new for i, (old, new) in enumerate(changes) if new is not old}


@contextlib.contextmanager
def traced_alone(layer):
    """Within it, a layer has a trace of its own: it is told something that is no argument."""
    with _set(_ALONE, _ALONE.get() | {id(layer)}):
        yield


def _description(layer, variables):
    """Returns what tells a layer from those that compute something else with their variables."""
    parts = [layer, *layer._flatten_layers(include_self=False)]
    configs = [{**part.get_config(), "name": None} for part in parts]
    shapes = tuple((tuple(variable.shape), variable.dtype) for variable in variables)
    return tuple(map(type, parts)), repr(configs), shapes


@contextlib.contextmanager
def _set(variable: ContextVar, value):
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
