"""The kinds of heads that the families' classifiers have.

Each makes its layers once, as attributes of the task, and applies them to a backbone's outputs.
"""

from dataclasses import dataclass
from typing import ClassVar

import keras

from clozework.layers import TextPooling, activation_function

__all__ = ["FirstTokenHead", "LastTokenHead", "PooledOutputHead"]


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
        x = task.backbone.token_vectors(outputs)[:, 0, :]
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


def _make_dense_layer(task, activation: str, hidden_dim: int | None, dropout: float) -> None:
    task.pooled_dense = keras.layers.Dense(
        hidden_dim or task.backbone.hidden_dim,
        activation=activation_function(activation),
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        dtype=task.backbone.dtype_policy,
        name="pooled_dense",
    )
    task.output_dropout = _dropout(task, dropout, "classifier_dropout")


def _dropout(task, rate: float, name: str):
    return keras.layers.Dropout(rate, dtype=task.backbone.dtype_policy, name=name)
