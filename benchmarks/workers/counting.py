"""A job without a model, to try processes with."""

import itertools
from collections.abc import Callable

import numpy as np

__all__ = ["counter"]


def counter(settings: dict) -> Callable[[], np.ndarray]:
    """Gives one number after another."""
    numbers = itertools.count(settings["start"])
    print("This is printed where it does no harm.")
    return lambda: np.array([next(numbers)])
