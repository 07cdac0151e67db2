"""The loss of vectors that are to find each other."""

import keras
from keras import ops

__all__ = ["InBatchNegatives"]


@keras.saving.register_keras_serializable("clozework")
class InBatchNegatives(keras.losses.Loss):
    """Cross-entropy of finding a text's partner among the partners of the whole batch.

    Papers: Henderson et al., 2017, https://arxiv.org/abs/1705.00652; as sentence-transformers'
    `MultipleNegativesRankingLoss`. For `TextEmbedder`, whose `fit` then takes pairs, or triplets
    whose third text is no partner. Large batches are hard, and so better; two examples of a batch
    with the same partner spoil each other.

    Args:
        scale: What similarities, cosines, are multiplied by.

    Call arguments:
        y_true: `(examples,)`; only their number counts.
        y_pred: `(texts, dim)`: the vectors of all first texts, then of all second ones, and so on.

    Outputs: The mean over examples.

    Example:
    >>> vectors = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]], "float32")
    >>> round(float(InBatchNegatives(scale=1.0)(np.zeros(2), vectors)), 4)
    0.3133
    """

    def __init__(self, scale=20.0, reduction="sum_over_batch_size", name="in_batch_negatives"):
        super().__init__(reduction=reduction, name=name)
        self.scale = scale

    def call(self, y_true, y_pred):
        count = ops.shape(y_true)[0]
        vectors = ops.normalize(ops.cast(y_pred, "float32"), axis=-1)
        logits = ops.matmul(vectors[:count], ops.transpose(vectors[count:])) * self.scale
        return ops.sparse_categorical_crossentropy(
            ops.arange(count, dtype="int32"), logits, from_logits=True
        )

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}
