"""The kinds of heads that the families' classifiers, of texts and of tokens, have."""

from dataclasses import dataclass
from typing import ClassVar

import keras

from clozework.layers import TextPooling, activation_function

__all__ = [
    "FirstTokenHead",
    "LastTokenHead",
    "NormalizedHead",
    "NormalizedTokenHead",
    "PlainTokenHead",
    "PooledOutputHead",
]


@dataclass(frozen=True)
class PooledOutputHead:
    """Classifies the backbone's pooled output; as in BERT.

    Attributes:
        dropout_name: Name of the dropout layer.
    """

    dropout_name: str = "classifier_dropout"
    needs_pooled_output: ClassVar[bool] = True

    def __call__(self, task, outputs, *, hidden_dim: int | None, dropout: float):
        """Returns what the last layer classifies."""
        return _dropout(task, dropout, self.dropout_name)(outputs["pooled_output"])


@dataclass(frozen=True)
class FirstTokenHead:
    """Classifies the first token's vector after one more dense layer; as in RoBERTa.

    Attributes:
        activation: Of the dense layer.
        has_input_dropout: Whether there is dropout before the dense layer too.
    """

    activation: str
    has_input_dropout: bool = True
    needs_pooled_output: ClassVar[bool] = False

    def __call__(self, task, outputs, *, hidden_dim: int | None, dropout: float):
        """Returns what the last layer classifies."""
        x = task.backbone.token_vectors(outputs)[:, 0, :]
        if self.has_input_dropout:
            x = _dropout(task, dropout, "pooled_dropout")(x)
        return _dense_layer(task, x, self.activation, hidden_dim, dropout)


@dataclass(frozen=True)
class LastTokenHead:
    """Classifies the decoder's vector of the last token after one more dense layer; as in BART.

    Attributes:
        activation: Of the dense layer.
    """

    activation: str
    needs_pooled_output: ClassVar[bool] = False

    def __call__(self, task, outputs, *, hidden_dim: int | None, dropout: float):
        """Returns what the last layer classifies."""
        pooling = TextPooling("lasttoken", dtype=task.backbone.dtype_policy, name="pooling")
        vectors = task.backbone.token_vectors(outputs)
        x = pooling(vectors, padding_mask=task.backbone.input["decoder_padding_mask"])
        x = _dropout(task, dropout, "pooled_dropout")(x)
        return _dense_layer(task, x, self.activation, hidden_dim, dropout)


@dataclass(frozen=True)
class NormalizedHead:
    """Classifies the task's pooled vector after a dense layer and normalisation; as in ModernBERT.

    Attributes:
        activation: Of the dense layer, which has no bias, as the normalisation.
    """

    activation: str
    needs_pooled_output: ClassVar[bool] = False

    def __call__(self, task, outputs, *, hidden_dim: int | None, dropout: float):
        """Returns what the last layer classifies."""
        dtype = task.backbone.dtype_policy
        pooling = TextPooling(task.pooling_mode, dtype=dtype, name="pooling")
        vectors = task.backbone.token_vectors(outputs)
        x = pooling(vectors, padding_mask=task.backbone.input["padding_mask"])
        x = _normalized(task, x, self.activation, hidden_dim)
        return _dropout(task, dropout, "classifier_dropout")(x)


@dataclass(frozen=True)
class PlainTokenHead:
    """Classifies the tokens' vectors as they are; as in most families."""

    def __call__(self, task, vectors):
        """Returns what the last layer classifies, before dropout."""
        return vectors


@dataclass(frozen=True)
class NormalizedTokenHead:
    """Classifies the tokens' vectors after a dense layer and normalisation; as in ModernBERT.

    Attributes:
        activation: Of the dense layer, which has no bias, as the normalisation.
    """

    activation: str

    def __call__(self, task, vectors):
        """Returns what the last layer classifies, before dropout."""
        return _normalized(task, vectors, self.activation, None)


def _normalized(task, x, activation: str, hidden_dim: int | None):
    task.head_dense = keras.layers.Dense(
        hidden_dim or task.backbone.hidden_dim,
        use_bias=False,
        activation=activation_function(activation),
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        dtype=task.backbone.dtype_policy,
        name="head_dense",
    )
    task.head_layer_norm = keras.layers.LayerNormalization(
        epsilon=task.backbone.layer_norm_epsilon,
        center=False,
        dtype=task.backbone.dtype_policy,
        name="head_layer_norm",
    )
    return task.head_layer_norm(task.head_dense(x))


def _dense_layer(task, x, activation: str, hidden_dim: int | None, dropout: float):
    task.pooled_dense = keras.layers.Dense(
        hidden_dim or task.backbone.hidden_dim,
        activation=activation_function(activation),
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        dtype=task.backbone.dtype_policy,
        name="pooled_dense",
    )
    return _dropout(task, dropout, "classifier_dropout")(task.pooled_dense(x))


def _dropout(task, rate: float, name: str):
    return keras.layers.Dropout(rate, dtype=task.backbone.dtype_policy, name=name)
