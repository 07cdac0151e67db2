"""Activations by name: Keras's, and the names that Hugging Face configs use for them."""

from collections.abc import Mapping

import keras

from clozework.errors import ConfigError

__all__ = ["activation_config", "activation_function", "activation_name"]


@keras.saving.register_keras_serializable("clozework")
def gelu_tanh(x):
    """GELU in its approximation by tanh: a function with a name, which Keras can store."""
    return keras.activations.gelu(x, approximate=True)


_FUNCTIONS = {
    "gelu": keras.activations.gelu,
    "gelu_tanh": gelu_tanh,
    **{
        name: getattr(keras.activations, name)
        for name in (
            "elu",
            "leaky_relu",
            "linear",
            "mish",
            "relu",
            "relu6",
            "selu",
            "sigmoid",
            "silu",
            "softmax",
            "softplus",
            "tanh",
        )
    },
}

_ALIASES = {
    "gelu_approximate": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_python": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "swish": "silu",
}


# Of the same functions, as users hand them in.
_NAMES = {function: name for name, function in _FUNCTIONS.items()}


def activation_name(activation) -> str:
    """Returns our name of an activation: `"gelu"` is exact, `"gelu_tanh"` its approximation.

    Args:
        activation: A name, one of Keras's functions, or None.

    Raises:
        ConfigError: If it is none of those that are known.

    Example:
    >>> activation_name("gelu_new")
    'gelu_tanh'
    """
    activation = "linear" if activation is None else activation
    name = _NAMES.get(activation, _ALIASES.get(activation, activation))
    if name not in _FUNCTIONS:
        raise ConfigError(
            f"Activation {name!r} is not known. Known are: "
            f"{', '.join(sorted({*_FUNCTIONS, *_ALIASES}))}."
        )
    return name


def activation_function(activation):
    """Returns the function of an activation given by name; a callable is returned as it is.

    Example:
    >>> float(activation_function("relu")(-1.0))
    0.0
    """
    if isinstance(activation, Mapping):
        # A function of the user's, as `activation_config` stores it.
        return keras.activations.get(activation)
    return activation if callable(activation) else _FUNCTIONS[activation_name(activation)]


def activation_config(activation):
    """Returns what a layer's config says of an activation, given by name or as a function.

    Example:
    >>> activation_config(keras.activations.relu)
    'relu'
    """
    if not callable(activation):
        return activation
    return _NAMES.get(activation) or keras.activations.serialize(activation)
