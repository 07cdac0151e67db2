"""The built-in presets of families that have many; `built_in_presets.json` lists them."""

import functools
import json
from importlib import resources
from typing import Any

from clozework.presets import Preset

__all__ = ["built_in_presets"]


def built_in_presets(family: str) -> tuple[Preset, ...]:
    """Returns the presets that the file has for a family.

    A family with a few writes them into its own file.

    Example:
    >>> [preset.parameters for preset in built_in_presets("roberta")]
    [124052736, 354307072]
    """
    return tuple(Preset(**record) for record in _records()[family])


@functools.cache
def _records() -> dict[str, list[dict[str, Any]]]:
    text = resources.files("clozework.models").joinpath("built_in_presets.json").read_text("utf-8")
    return json.loads(text)
