"""The precision of a stored model whose weights are quantized.

A config of KerasHub holds it as Keras's `DTypePolicyMap`: layer -> policy. Read here as data of a
known form; Keras's own deserialiser would follow import paths in it.
"""

import re
from collections.abc import Mapping
from typing import Any

import keras

from clozework.errors import PresetError

__all__ = ["read_policy_map"]

_MAP = "DTypePolicyMap"
_HISTORY = range(1, 2**16)
_FLOATS = ("float32", "bfloat16", "float16", "mixed_bfloat16", "mixed_float16")
# Keras's class, and the form of its mode.
_QUANTIZED = {
    "QuantizedDTypePolicy": (keras.dtype_policies.QuantizedDTypePolicy, r"int8|int4"),
    "QuantizedFloat8DTypePolicy": (keras.dtype_policies.QuantizedFloat8DTypePolicy, r"float8"),
    "Int4DTypePolicy": (keras.dtype_policies.Int4DTypePolicy, r"int4/(-1|[1-9]\d{0,5})"),
}


def read_policy_map(record: Any, where: str):
    """Returns the policies that a config's `"dtype"` holds by layer, or None for a single one.

    Raises:
        PresetError: If the record is not of the form that Keras writes.
    """
    if not isinstance(record, Mapping) or record.get("class_name") != _MAP:
        return None
    config = record.get("config")
    policies = config.get("policy_map") if isinstance(config, Mapping) else None
    if not isinstance(policies, Mapping):
        raise _refusal(record, where)
    default = config.get("default_policy")
    return keras.dtype_policies.DTypePolicyMap(
        default_policy=None if default is None else _policy(default, where),
        policy_map={str(path): _policy(policy, where) for path, policy in policies.items()},
    )


def _policy(record: Any, where: str):
    match record:
        case {"class_name": "DTypePolicy", "config": {"name": str(name)}} if name in _FLOATS:
            return keras.dtype_policies.DTypePolicy(name)
        case {
            "class_name": str(name),
            "config": {"mode": str(mode), "source_name": source, **options},
        } if name in _QUANTIZED and source in (None, *_FLOATS):
            cls, form = _QUANTIZED[name]
            known = {"amax_history_length"} if mode == "float8" else set()
            is_sound = options.keys() <= known and options.get("amax_history_length", 1) in _HISTORY
            if is_sound and re.fullmatch(form, mode):
                return cls(mode, source, **options)
    raise _refusal(record, where)


def _refusal(record: Any, where: str) -> PresetError:
    return PresetError(
        f"The 'dtype' of {where} is not one that Keras writes: {record!r:.200}. Remove it from the "
        f"config if the weights are floats."
    )
