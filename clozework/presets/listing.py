"""The built-in presets of a class, as KerasHub lists them."""

from typing import Any

from clozework.presets.registry import families

__all__ = ["class_property", "presets_of"]


class class_property:  # noqa: N801 (used like `property`)
    """A property of the class itself, as KerasHub has for `presets`."""

    def __init__(self, getter):
        self._getter = getter
        self.__doc__ = getter.__doc__

    def __get__(self, instance, owner):
        return self._getter(owner)


def presets_of(cls: Any) -> dict[str, dict[str, Any]]:
    """Returns the built-in presets that `cls.from_preset` takes, by name."""
    return {
        preset.name: {
            "metadata": {
                "description": preset.description,
                "params": preset.parameters,
                "path": family.name,
            },
            "kaggle_handle": preset.kaggle,
        }
        for family in families()
        if any(issubclass(known, cls) for known in family.classes)
        for preset in family.presets
    }
