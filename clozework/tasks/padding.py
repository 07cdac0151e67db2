"""Padding that nothing needs, cut off."""

from collections.abc import Mapping

import numpy as np

__all__ = ["without_needless_padding"]

# Rows are cut to one of these lengths: a compiled program serves one shape.
_ROW_LENGTHS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


def without_needless_padding(x: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Cuts rows to the shortest of a few lengths that holds all tokens: the numbers stay.

    Not those of a model without a padding mask (FNet): it computes on padding as on tokens.
    """
    return {name: values[:, : _needed_length(name, x)] for name, values in x.items()}


def _needed_length(name: str, x: Mapping[str, np.ndarray]) -> int:
    """Returns how much of the rows of an input is needed: as much as of its half's mask."""
    half = name.partition("_")[0]
    mask = x.get(f"{half}_padding_mask", x.get("padding_mask"))
    full = x[name].shape[1]
    if mask is None or name == "mask_positions":
        return full
    used = int(mask.sum(axis=1).max(initial=1))
    return next((length for length in _ROW_LENGTHS if used <= length <= full), full)
