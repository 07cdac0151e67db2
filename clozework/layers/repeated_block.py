"""Blocks of which a model has many that differ in their weights alone."""

from typing import Any

import keras

from clozework.traced_layers import traced_once

__all__ = ["RepeatedBlock"]


class RepeatedBlock(keras.layers.Layer):
    """Base class of such blocks: a program of several is traced with one of them.

    Abstract: a subclass has an `activation`. All that a block computes follows from this, its
    class, its configuration and that of the layers in it, its variables and the arguments of its
    call; what else it is told, it is told within `clozework.traced_layers.traced_alone`.

    Attributes:
        activation: A name, what a configuration says of a function, or a function.
    """

    activation: Any

    def __call__(self, *args, **kwargs):
        functions = [self.activation] if callable(self.activation) else []
        return traced_once(self, super().__call__, args, kwargs, functions=functions)
