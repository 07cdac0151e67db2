"""Dropout whose random numbers cost next to nothing."""

import keras

from clozework import kernels

__all__ = ["Dropout"]


# The class has the name of Keras's, which is part of the format of stored weights.
@keras.saving.register_keras_serializable("clozework")
class Dropout(keras.layers.Dropout):
    """`keras.layers.Dropout`, but faster on JAX.

    Arguments, call arguments and what is stored are the same. On JAX another random generator says
    which values are dropped: the same ones for the same seed, but not those that Keras drops.

    Example:
    >>> dropped = Dropout(0.5, seed=1)(np.ones((2, 500)), training=True)
    >>> np.unique(dropped).tolist()
    [0.0, 2.0]
    """

    def call(self, inputs, training=False):
        if not training or self.noise_shape is not None or not 0 < self.rate < 1:
            return super().call(inputs, training=training)
        return kernels.dropout(inputs, self.rate, self.seed_generator)
