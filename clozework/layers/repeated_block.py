"""Blocks of which a model has many that differ in their weights alone."""

import keras

from clozework.traced_layers import traced_once

__all__ = ["RepeatedBlock"]


class RepeatedBlock(keras.layers.Layer):
    """Base class of such blocks: a program of several is traced with one of them.

    Abstract. All that a block computes follows from its class, its configuration and that of the
    layers in it, its variables and the arguments of its call; what else it is told, it is told
    within `clozework.traced_layers.traced_alone`.
    """

    def __call__(self, *args, **kwargs):
        return traced_once(self, super().__call__, args, kwargs)
