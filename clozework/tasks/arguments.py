"""Constructor arguments of models: recorded once, checked by their names."""

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from clozework.errors import ConfigError

__all__ = [
    "argument_defaults",
    "recorded_arguments",
    "stored_arguments",
    "unknown_arguments",
    "with_defaults",
]

_KERAS_ARGUMENTS = frozenset({"name", "trainable"})
_POSITIVE = (
    "vocabulary_size",
    "vocab_size",
    "num_layers",
    "num_decoder_layers",
    "num_heads",
    "num_decoder_heads",
    "num_query_heads",
    "num_key_value_heads",
    "head_dim",
    "sliding_window_size",
    "local_attention_window",
    "global_attention_interval",
    "hidden_dim",
    "embedding_dim",
    "intermediate_dim",
    "decoder_intermediate_dim",
    "num_groups",
    "num_inner_repetitions",
    "max_sequence_length",
    "num_segments",
    "bucket_size",
    "num_classes",
)


def argument_defaults(cls: type) -> dict[str, inspect.Parameter]:
    """Returns the constructor's own parameters by name, without `**kwargs`."""
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    return {p.name: p for p in parameters if p.kind is not inspect.Parameter.VAR_KEYWORD}


def unknown_arguments(cls: type, names, known) -> ConfigError:
    """Returns the error for arguments that `cls` does not have, with the names they resemble."""
    hints = []
    for name in names:
        similar = difflib.get_close_matches(name, known, n=1)
        hints.append(f"{name!r}" + (f" (did you mean {similar[0]!r}?)" if similar else ""))
    return ConfigError(
        f"{cls.__name__} has no argument {', '.join(hints)}. It has: {', '.join(known)}."
    )


def recorded_arguments(cls: type, args: tuple, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns every argument of the constructor with its value, defaults included.

    Raises:
        ConfigError: If an argument is unknown, missing, or has a value that no model can have.
    """
    parameters = argument_defaults(cls)
    unknown = [name for name in kwargs if name not in parameters and name not in _KERAS_ARGUMENTS]
    if unknown:
        raise unknown_arguments(cls, unknown, [*parameters, *sorted(_KERAS_ARGUMENTS)])
    own = {name: value for name, value in kwargs.items() if name in parameters}
    try:
        bound = inspect.Signature(list(parameters.values())).bind(*args, **own)
    except TypeError as error:
        raise ConfigError(f"{cls.__name__}: {error}.") from error
    bound.apply_defaults()
    arguments = dict(bound.arguments)
    for name, other in cls.same_by_default.items():
        if arguments[name] is None:
            arguments[name] = arguments[other]
    # `labels.max() + 1` is an integer of NumPy's, which no config can hold.
    if isinstance(arguments.get("num_classes"), np.integer):
        arguments["num_classes"] = int(arguments["num_classes"])
    _check_values(cls, arguments)
    return arguments


def stored_arguments(cls: type, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments that belong in a config.

    Those that KerasHub has, always; keyword-only ones, which are ours, only where they differ
    from the default, which is what KerasHub computes.
    """
    parameters = argument_defaults(cls)
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    defaults.update({name: arguments[other] for name, other in cls.same_by_default.items()})
    return {
        name: value
        for name, value in arguments.items()
        if parameters[name].kind is not inspect.Parameter.KEYWORD_ONLY or value != defaults[name]
    }


def _check_values(cls: type, arguments: Mapping[str, Any]) -> None:
    problems = []
    parameters = argument_defaults(cls)
    for name in _POSITIVE:
        value = arguments.get(name)
        is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
        is_optional = name in arguments and parameters[name].default is None
        if name in arguments and not is_count and not (value is None and is_optional):
            problems.append(f"`{name}` must be a positive integer, not {value!r}")
    dropout = arguments.get("dropout", 0.0)
    if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        problems.append(f"`dropout` must be at least 0 and less than 1, not {dropout!r}")
    epsilon = arguments.get("layer_norm_epsilon", 1.0)
    if not isinstance(epsilon, int | float) or isinstance(epsilon, bool) or not epsilon > 0:
        problems.append(f"`layer_norm_epsilon` must be a positive number, not {epsilon!r}")
    for name in ("num_heads", "num_decoder_heads"):
        if not problems and {"hidden_dim", name} <= arguments.keys():
            hidden_dim, num_heads = arguments["hidden_dim"], arguments[name]
            if hidden_dim % num_heads:
                problems.append(
                    f"`{name}` must divide `hidden_dim`, but {hidden_dim} is not a multiple "
                    f"of {num_heads}"
                )
    if not problems and "num_groups" in arguments:
        num_layers, num_groups = arguments["num_layers"], arguments["num_groups"]
        if num_layers % num_groups:
            problems.append(
                f"`num_groups` must divide `num_layers`, but {num_layers} is not a multiple of "
                f"{num_groups}"
            )
    if problems:
        raise ConfigError(f"{cls.__name__}: {'; '.join(problems)}.")


def with_defaults(constructor: Callable, **defaults: Any) -> Callable:
    """Returns a constructor that differs in the defaults of some arguments."""
    signature = inspect.signature(constructor)
    parameters = [
        parameter.replace(default=defaults.get(name, parameter.default))
        for name, parameter in signature.parameters.items()
    ]
    signature = signature.replace(parameters=parameters)

    @functools.wraps(constructor)
    def construct(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return constructor(*bound.args, **bound.kwargs)

    # `wraps` knows of functions only what they all have.
    vars(construct)["__signature__"] = signature
    return construct
