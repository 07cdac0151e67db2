"""Samplers by name, and as configs."""

import difflib
import inspect
from collections.abc import Mapping

import keras

from clozework.errors import ConfigError
from clozework.samplers.beam_sampler import BeamSampler
from clozework.samplers.contrastive_sampler import ContrastiveSampler
from clozework.samplers.sampler import Sampler
from clozework.samplers.speculative_sampler import SpeculativeSampler
from clozework.samplers.token_samplers import (
    GreedySampler,
    RandomSampler,
    TopKSampler,
    TopPSampler,
)

__all__ = ["deserialize", "get", "serialize"]

_BY_NAME = {
    "beam": BeamSampler,
    "contrastive": ContrastiveSampler,
    "greedy": GreedySampler,
    "random": RandomSampler,
    "speculative": SpeculativeSampler,
    "top_k": TopKSampler,
    "top_p": TopPSampler,
}


def serialize(sampler) -> dict:
    """Returns a sampler as a config, from which `deserialize` makes it again."""
    return keras.saving.serialize_keras_object(sampler)


def deserialize(config: Mapping, custom_objects=None) -> Sampler:
    """Returns the sampler of a config, KerasHub's included.

    Args:
        config: What `serialize` gave, or `{"class_name": ..., "config": {...}}`.
        custom_objects: Classes of your own, by name.

    Raises:
        ConfigError: If there is no such sampler.

    Example:
    >>> deserialize({"class_name": "TopKSampler", "config": {"k": 3}}).k
    3
    """
    if not isinstance(config, Mapping) or not isinstance(config.get("class_name"), str):
        raise ConfigError(f"A config of a sampler has a 'class_name'. Received: {config!r:.80}.")
    name = config["class_name"]
    known = {**{cls.__name__: cls for cls in _BY_NAME.values()}, **_BY_NAME}
    found = {**known, **(custom_objects or {})}.get(name)
    arguments = dict(config.get("config") or {})
    if isinstance(arguments.get("base_sampler"), Mapping):
        arguments["base_sampler"] = deserialize(arguments["base_sampler"], custom_objects)
    if found is not None:
        return found.from_config(arguments)
    registered = keras.saving.get_registered_object(config.get("registered_name") or name)
    if registered is None:
        raise _unknown(name)
    return registered.from_config(arguments)


def get(identifier) -> Sampler | None:
    """Returns a sampler: one by name, of a config, of its class, or the one that is given.

    Args:
        identifier: `"greedy"`, `"random"`, `"top_k"`, `"top_p"`, `"beam"`, `"contrastive"` or
            `"speculative"`, a config, a `Sampler` or its class; None stays None.

    Raises:
        ConfigError: If it is nothing of the kind.

    Example:
    >>> type(get("top_p")).__name__
    'TopPSampler'
    """
    if identifier is None or isinstance(identifier, Sampler):
        return identifier
    if isinstance(identifier, str):
        if identifier not in _BY_NAME:
            raise _unknown(identifier)
        return _BY_NAME[identifier]()
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    if inspect.isclass(identifier) and issubclass(identifier, Sampler):
        return identifier()
    # Anything that can be called like a sampler is one.
    if callable(identifier):
        return identifier  # pyright: ignore[reportReturnType]
    raise ConfigError(
        f"A sampler is a name ({', '.join(map(repr, _BY_NAME))}), a `Sampler`, its class or its "
        f"config. Received: {identifier!r:.80}."
    )


def _unknown(name: str) -> ConfigError:
    similar = difflib.get_close_matches(name, _BY_NAME, n=1)
    hint = f" Did you mean {similar[0]!r}?" if similar else ""
    return ConfigError(
        f"There is no sampler {name!r}.{hint} There are: {', '.join(map(repr, _BY_NAME))}; a class "
        f"of your own is handed in as an object."
    )
