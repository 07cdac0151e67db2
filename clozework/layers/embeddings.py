"""Embeddings of tokens and positions."""

import keras
from keras import ops

from clozework.backend import known_values
from clozework.errors import InputError
from clozework.kernels import products_with_rows
from clozework.layers.text_masks import positions_within_texts

__all__ = [
    "PositionEmbedding",
    "ReversibleEmbedding",
    "SinePositionEncoding",
    "TokenAndPositionEmbedding",
]


@keras.saving.register_keras_serializable("clozework")
class ReversibleEmbedding(keras.layers.ReversibleEmbedding):
    """Token vectors that can also be read backwards, as scores over the vocabulary.

    Arguments as in `keras.layers.ReversibleEmbedding`. Called with `reverse=True` it maps
    `(..., output_dim)` to `(..., input_dim)`.

    Raises:
        InputError: If an id has no row, where ids are known (outside of a compiled program).

    Example:
    >>> embedding = ReversibleEmbedding(input_dim=10, output_dim=4)
    >>> vectors = embedding(np.array([[1, 2, 3]]))
    >>> embedding(vectors, reverse=True).shape
    (1, 3, 10)
    """

    def call(self, inputs, reverse=False):
        if reverse:
            return self._scores(inputs)
        values = known_values(inputs)
        if values is not None and values.size:
            lowest, highest = int(values.min()), int(values.max())
            if lowest < 0 or highest >= self.input_dim:
                raise InputError(
                    f"Token ids go from {lowest} to {highest}, but `{self.name}` has vectors for "
                    f"0 to {self.input_dim - 1}. Were they made with another model's tokenizer?"
                )
        return super().call(inputs)

    def _scores(self, vectors):
        # What Keras does, but for the product, which stands in the midst of it.
        if not self.tie_weights:
            return super().call(vectors, reverse=True)
        table = ops.convert_to_tensor(self.embeddings)
        if self.reverse_dtype is not None:
            vectors, table = (ops.cast(x, self.reverse_dtype) for x in (vectors, table))
        scores = products_with_rows(vectors, table)
        if self.logit_soft_cap is not None:
            scores = ops.tanh(scores / self.logit_soft_cap) * self.logit_soft_cap
        return scores


@keras.saving.register_keras_serializable("clozework")
class PositionEmbedding(keras.layers.Layer):
    """One learned vector for each position.

    Args:
        sequence_length: Number of positions that have a vector.
        initializer: Of the vectors.

    Call arguments:
        inputs: Anything of shape `(..., tokens, hidden_dim)`; only its shape counts.
        start_index: Position of the first token.
        positions: Positions `(batch, tokens)`, in place of 0, 1, 2, ...
        padding_mask: `(batch, tokens)`, from which positions follow; see `clozework.layers`.

    Outputs: `(..., tokens, hidden_dim)`, the vectors of the positions.

    Raises:
        InputError: If there are more tokens than positions.

    Example:
    >>> PositionEmbedding(sequence_length=8)(np.zeros((2, 5, 4))).shape
    (2, 5, 4)
    """

    def __init__(self, sequence_length, initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.sequence_length = int(sequence_length)
        self.initializer = keras.initializers.get(initializer)
        self.supports_masking = True

    def build(self, inputs_shape, **other_shapes):
        self.position_embeddings = self.add_weight(
            name="embeddings",
            shape=(self.sequence_length, inputs_shape[-1]),
            initializer=self.initializer,
        )

    def call(self, inputs, start_index=0, positions=None, *, padding_mask=None):
        self._check_positions(inputs.shape[-2], start_index, positions)
        vectors = ops.cast(self.position_embeddings, self.compute_dtype)
        if positions is None and padding_mask is not None:
            positions = positions_within_texts(padding_mask)
        if positions is None:
            tokens = ops.shape(inputs)[-2]
            positions = ops.arange(tokens, dtype="int32") + ops.cast(start_index, "int32")
        vectors = ops.take(vectors, positions, axis=0)
        return ops.broadcast_to(vectors, ops.shape(inputs))

    def compute_output_shape(self, inputs_shape, **other_shapes):
        return inputs_shape

    def _check_positions(self, tokens: int | None, start_index, positions) -> None:
        if tokens is not None and tokens > self.sequence_length:
            raise InputError(
                f"The input is {tokens} tokens long, but `{self.name}` has {self.sequence_length} "
                f"positions (`max_sequence_length`). Cut the input, or set the preprocessor's "
                f"`sequence_length` to at most {self.sequence_length}."
            )
        known = known_values(start_index if positions is None else positions)
        if known is None or not known.size or tokens is None:
            return
        first = int(known.min())
        last = first + tokens - 1 if positions is None else int(known.max())
        if first < 0 or last >= self.sequence_length:
            raise InputError(
                f"The input has the positions {first} to {last}, but `{self.name}` has vectors for "
                f"0 to {self.sequence_length - 1}."
            )

    def get_config(self):
        return {
            **super().get_config(),
            "sequence_length": self.sequence_length,
            "initializer": keras.initializers.serialize(self.initializer),
        }


@keras.saving.register_keras_serializable("clozework")
class SinePositionEncoding(keras.layers.Layer):
    """Sines and cosines of the position, as in Vaswani et al., 2017, https://arxiv.org/abs/1706.03762.

    Args:
        max_wavelength: Longest wavelength, in positions.

    Call arguments, outputs: as `PositionEmbedding`.

    Example:
    >>> SinePositionEncoding()(np.zeros((2, 5, 4))).shape
    (2, 5, 4)
    """

    def __init__(self, max_wavelength=10000, **kwargs):
        super().__init__(**kwargs)
        self.max_wavelength = max_wavelength
        self.supports_masking = True
        self.built = True

    def call(self, inputs, start_index=0, positions=None):
        hidden_dim = inputs.shape[-1]
        # Angles in float32: a half float cannot tell positions above 2,048 apart.
        if positions is None:
            tokens = ops.shape(inputs)[-2]
            positions = ops.arange(tokens, dtype="float32") + ops.cast(start_index, "float32")
        positions = ops.cast(positions, "float32")
        wavelength = ops.cast(self.max_wavelength, "float32")
        dimensions = ops.arange(hidden_dim, dtype="float32")
        # Dimensions 2 k and 2 k + 1 are the sine and the cosine of the same angle.
        exponents = 2.0 * ops.floor(dimensions / 2.0) / hidden_dim
        angles = ops.expand_dims(positions, -1) * ops.power(1.0 / wavelength, exponents)
        is_cosine = ops.cast(ops.equal(dimensions % 2.0, 1.0), "float32")
        encoding = ops.sin(angles) * (1.0 - is_cosine) + ops.cos(angles) * is_cosine
        return ops.broadcast_to(ops.cast(encoding, self.compute_dtype), ops.shape(inputs))

    def compute_output_shape(self, inputs_shape, **other_shapes):
        return inputs_shape

    def get_config(self):
        return {**super().get_config(), "max_wavelength": self.max_wavelength}


@keras.saving.register_keras_serializable("clozework")
class TokenAndPositionEmbedding(keras.layers.Layer):
    """The sum of a token's vector and its position's.

    Args:
        vocabulary_size: Number of tokens.
        sequence_length: Number of positions.
        embedding_dim: Width of the vectors.
        tie_weights: Whether reading `token_embedding` backwards uses the same vectors.
        embeddings_initializer: Of both tables.
        mask_zero: Whether id 0 is padding that Keras masks.

    Call arguments:
        inputs: Ids `(batch, tokens)`.
        start_index, positions, padding_mask: As in `PositionEmbedding`.

    Outputs: `(batch, tokens, embedding_dim)`.

    Example:
    >>> layer = TokenAndPositionEmbedding(vocabulary_size=10, sequence_length=8, embedding_dim=4)
    >>> layer(np.array([[1, 2, 3]])).shape
    (1, 3, 4)
    """

    def __init__(
        self,
        vocabulary_size,
        sequence_length,
        embedding_dim,
        tie_weights=True,
        embeddings_initializer="uniform",
        mask_zero=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.vocabulary_size = int(vocabulary_size)
        self.sequence_length = int(sequence_length)
        self.embedding_dim = int(embedding_dim)
        self.tie_weights = tie_weights
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)
        self.supports_masking = True
        self.token_embedding = ReversibleEmbedding(
            vocabulary_size,
            embedding_dim,
            tie_weights=tie_weights,
            embeddings_initializer=self._clone_initializer(),
            mask_zero=mask_zero,
            dtype=self.dtype_policy,
            name="token_embedding",
        )
        self.position_embedding = PositionEmbedding(
            sequence_length=sequence_length,
            initializer=self._clone_initializer(),
            dtype=self.dtype_policy,
            name="position_embedding",
        )

    def build(self, inputs_shape, **other_shapes):
        self.token_embedding.build(inputs_shape)
        self.position_embedding.build((*inputs_shape, self.embedding_dim))

    def call(self, inputs, start_index=0, positions=None, *, padding_mask=None):
        vectors = self.token_embedding(inputs)
        return vectors + self.position_embedding(
            vectors, start_index=start_index, positions=positions, padding_mask=padding_mask
        )

    def compute_output_shape(self, inputs_shape, **other_shapes):
        return (*inputs_shape, self.embedding_dim)

    def compute_mask(self, inputs, previous_mask=None):
        return ops.not_equal(inputs, 0) if self.token_embedding.mask_zero else None

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "sequence_length": self.sequence_length,
            "embedding_dim": self.embedding_dim,
            "tie_weights": self.tie_weights,
            "embeddings_initializer": keras.initializers.serialize(self.embeddings_initializer),
            "mask_zero": self.token_embedding.mask_zero,
        }

    def _clone_initializer(self):
        # One initializer object used twice would give both tables the same numbers.
        return self.embeddings_initializer.clone()
