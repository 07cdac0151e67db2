"""The kinds of heads that the families' classifiers, of texts and of tokens, have.

Each makes its layers once, as attributes of the task, and applies them to a backbone's outputs, or,
where texts share rows, to the vectors of each text that it reads.
"""

from dataclasses import dataclass
from typing import ClassVar

import keras

from clozework.layers import Dense, Dropout, TextPooling, activation_function
from clozework.tasks.packed_texts import first_vectors, pooled_texts

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

    def make_layers(self, task, hidden_dim: int | None, dropout: float) -> None:
        """Makes the layers between the backbone and the last one."""
        task.output_dropout = _dropout(task, dropout, self.dropout_name)

    def __call__(self, task, outputs):
        """Returns what the last layer classifies."""
        return task.output_dropout(outputs["pooled_output"])

    def of_packed(self, task, inputs):
        """Returns what the last layer classifies of texts that share rows."""
        first = keras.ops.expand_dims(first_vectors(task.backbone, inputs), 1)
        return self(task, task.backbone.outputs_of(first))


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

    def make_layers(self, task, hidden_dim: int | None, dropout: float) -> None:
        """Makes the layers between the backbone and the last one."""
        if self.has_input_dropout:
            task.pooled_dropout = _dropout(task, dropout, "pooled_dropout")
        _make_dense_layer(task, self.activation, hidden_dim, dropout)

    def __call__(self, task, outputs):
        """Returns what the last layer classifies."""
        return self._of_pooled(task, task.backbone.token_vectors(outputs)[:, 0, :])

    def of_packed(self, task, inputs):
        """Returns what the last layer classifies of texts that share rows."""
        return self._of_pooled(task, first_vectors(task.backbone, inputs))

    def _of_pooled(self, task, x):
        if self.has_input_dropout:
            x = task.pooled_dropout(x)
        return task.output_dropout(task.pooled_dense(x))


@dataclass(frozen=True)
class LastTokenHead:
    """Classifies the decoder's vector of the last token after one more dense layer; as in BART.

    Attributes:
        activation: Of the dense layer.
    """

    activation: str
    needs_pooled_output: ClassVar[bool] = False

    def make_layers(self, task, hidden_dim: int | None, dropout: float) -> None:
        """Makes the layers between the backbone and the last one."""
        task.pooling = TextPooling("lasttoken", dtype=task.backbone.dtype_policy, name="pooling")
        task.pooled_dropout = _dropout(task, dropout, "pooled_dropout")
        _make_dense_layer(task, self.activation, hidden_dim, dropout)

    def __call__(self, task, outputs):
        """Returns what the last layer classifies."""
        vectors = task.backbone.token_vectors(outputs)
        x = task.pooling(vectors, padding_mask=task.backbone.input["decoder_padding_mask"])
        return task.output_dropout(task.pooled_dense(task.pooled_dropout(x)))


@dataclass(frozen=True)
class NormalizedHead:
    """Classifies the task's pooled vector after a dense layer and normalisation; as in ModernBERT.

    Attributes:
        activation: Of the dense layer, which has no bias, as the normalisation.
    """

    activation: str
    needs_pooled_output: ClassVar[bool] = False

    def make_layers(self, task, hidden_dim: int | None, dropout: float) -> None:
        """Makes the layers between the backbone and the last one."""
        task.pooling = TextPooling(
            task.pooling_mode, dtype=task.backbone.dtype_policy, name="pooling"
        )
        _make_normalized_layer(task, self.activation, hidden_dim)
        task.output_dropout = _dropout(task, dropout, "classifier_dropout")

    def __call__(self, task, outputs):
        """Returns what the last layer classifies."""
        vectors = task.backbone.token_vectors(outputs)
        pooled = task.pooling(vectors, padding_mask=task.backbone.input["padding_mask"])
        return self._of_pooled(task, pooled)

    def of_packed(self, task, inputs):
        """Returns what the last layer classifies of texts that share rows."""
        return self._of_pooled(task, pooled_texts(task, inputs))

    def _of_pooled(self, task, x):
        return task.output_dropout(task.head_layer_norm(task.head_dense(x)))


@dataclass(frozen=True)
class PlainTokenHead:
    """Classifies the tokens' vectors as they are; as in most families."""

    def make_layers(self, task) -> None:
        """Makes nothing."""

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

    def make_layers(self, task) -> None:
        """Makes the layers between the backbone and the dropout before the last one."""
        _make_normalized_layer(task, self.activation, None)

    def __call__(self, task, vectors):
        """Returns what the last layer classifies, before dropout."""
        return task.head_layer_norm(task.head_dense(vectors))


def _make_normalized_layer(task, activation: str, hidden_dim: int | None) -> None:
    task.head_dense = Dense(
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


def _make_dense_layer(task, activation: str, hidden_dim: int | None, dropout: float) -> None:
    task.pooled_dense = Dense(
        hidden_dim or task.backbone.hidden_dim,
        activation=activation_function(activation),
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        dtype=task.backbone.dtype_policy,
        name="pooled_dense",
    )
    task.output_dropout = _dropout(task, dropout, "classifier_dropout")


def _dropout(task, rate: float, name: str):
    return Dropout(rate, dtype=task.backbone.dtype_policy, name=name)
