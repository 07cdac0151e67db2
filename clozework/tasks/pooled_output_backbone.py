"""The abstract backbone of BERT and its relatives: what stands before and behind their blocks."""

from typing import Any

import keras

from clozework.layers import Dense, Dropout, PositionEmbedding, ReversibleEmbedding
from clozework.tasks.backbone import Backbone

__all__ = ["PooledOutputBackbone"]


class PooledOutputBackbone(Backbone):
    """Base class of encoders of segments that give one vector per token, and one for the text.

    A subclass calls `make_embeddings`, makes its blocks, and calls `make_pooled_dense`; its flow
    goes from `embedded` through `embeddings_dropout` and the blocks to `outputs_of`. Names and
    order of the layers are part of the format of stored weights.

    Outputs: `"sequence_output"` `(batch, tokens, hidden_dim)` and `"pooled_output"`
        `(batch, hidden_dim)`.
    """

    input_names = ("token_ids", "segment_ids", "padding_mask")
    has_open_row_length = True

    def make_embeddings(
        self,
        vocabulary_size: int,
        embedding_dim: int,
        *,
        max_sequence_length: int,
        num_segments: int,
        dropout: float,
        layer_norm_epsilon: float,
        dtype: Any,
    ) -> None:
        """Makes the embeddings of tokens, positions and segments, and what joins them."""
        self.token_embedding = ReversibleEmbedding(
            vocabulary_size,
            embedding_dim,
            embeddings_initializer=_initializer(),
            dtype=dtype,
            name="token_embedding",
        )
        self.position_embedding = PositionEmbedding(
            max_sequence_length, _initializer(), dtype=dtype, name="position_embedding"
        )
        self.segment_embedding = keras.layers.Embedding(
            num_segments, embedding_dim, _initializer(), dtype=dtype, name="segment_embedding"
        )
        self.embeddings_add = keras.layers.Add(dtype=dtype, name="embeddings_add")
        self.embeddings_layer_norm = keras.layers.LayerNormalization(
            epsilon=layer_norm_epsilon, dtype=dtype, name="embeddings_layer_norm"
        )
        self.embeddings_dropout = Dropout(dropout, dtype=dtype, name="embeddings_dropout")

    def make_pooled_dense(self, hidden_dim: int, dtype: Any) -> None:
        """Makes the layer that the pooled output comes from."""
        self.pooled_dense = Dense(
            hidden_dim,
            "tanh",
            kernel_initializer=_initializer(),
            dtype=dtype,
            name="pooled_dense",
        )

    def embedded(self, inputs):
        """Returns the normalised sum of the embeddings, `(batch, tokens, embedding_dim)`."""
        tokens = self.token_embedding(inputs["token_ids"])
        positions = self.position_embedding(tokens, padding_mask=inputs.get("padding_mask"))
        segments = self.segment_embedding(inputs["segment_ids"])
        return self.embeddings_layer_norm(self.embeddings_add((tokens, positions, segments)))

    def outputs_of(self, vectors):
        pooled = self.pooled_dense(vectors[:, 0, :])
        return {"sequence_output": vectors, "pooled_output": pooled}


def _initializer():
    return keras.initializers.TruncatedNormal(stddev=0.02)
