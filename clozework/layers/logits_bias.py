"""A constant that is added to the scores of each token of the vocabulary."""

import keras
from keras import ops

__all__ = ["LogitsBias"]


@keras.saving.register_keras_serializable("clozework")
class LogitsBias(keras.layers.Layer):
    """Adds a value for each token of the vocabulary, zeros unless a checkpoint has others.

    Inputs, outputs: `(..., vocabulary)`.

    Example:
    >>> LogitsBias()(np.zeros((1, 2, 5))).shape
    (1, 2, 5)
    """

    def build(self, inputs_shape):
        # Not trained, as in `transformers`, whose checkpoints bring it.
        self.bias = self.add_weight(
            name="bias", shape=(inputs_shape[-1],), initializer="zeros", trainable=False
        )

    def call(self, inputs):
        return inputs + ops.cast(self.bias, inputs.dtype)

    def compute_output_shape(self, inputs_shape):
        return inputs_shape
