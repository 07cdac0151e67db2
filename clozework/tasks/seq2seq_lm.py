"""The abstract sequence-to-sequence model."""

import keras
import numpy as np

from clozework.errors import InputError
from clozework.layers import LogitsBias
from clozework.tasks.numbers import known_range
from clozework.tasks.task import Task, without_needless_padding

__all__ = ["Seq2SeqLM"]


class Seq2SeqLM(Task):
    """Base class of models that read one text and write another.

    `fit`, `evaluate` and `predict` take `{"encoder_text": [...], "decoder_text": [...]}`; see
    `Seq2SeqLMPreprocessor`.

    Args:
        backbone: The family's backbone.
        preprocessor: What turns strings into inputs; None to hand in inputs.

    Outputs: Logits `(batch, decoder tokens, vocabulary)`, of the token that follows each.
    """

    kind = "Seq2SeqLM"
    hub_task = "text2text-generation"

    def __init__(self, backbone, preprocessor=None, **kwargs):
        self.backbone = backbone
        self.logits_bias = LogitsBias(dtype=backbone.dtype_policy, name="logits_bias")
        outputs = self._logits(backbone.token_vectors(backbone(backbone.input)))
        super().__init__(backbone, preprocessor, inputs=backbone.input, outputs=outputs, **kwargs)

    def compile(self, optimizer="auto", loss="auto", *, weighted_metrics="auto", **kwargs):
        """Sets what `fit` minimises; `"auto"` is Adam(2e-5), cross-entropy and accuracy."""
        if optimizer == "auto":
            optimizer = keras.optimizers.Adam(2e-5)
        if loss == "auto":
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        if weighted_metrics == "auto":
            weighted_metrics = [keras.metrics.SparseCategoricalAccuracy()]
        super().compile(optimizer=optimizer, loss=loss, weighted_metrics=weighted_metrics, **kwargs)

    def has_task_weights(self) -> bool:
        """Returns whether a bias of the logits is not zero: KerasHub's models have none."""
        bias = self.logits_bias.bias
        return bias._value is not None and bool(np.any(keras.ops.convert_to_numpy(bias)))

    def prepare_labels(self, y):
        if y is None:
            raise InputError(
                "Training a sequence-to-sequence model on arrays needs labels: pass as `y`, for "
                "each token of the decoder, the one that follows it, `(batch, tokens)`."
            )
        lowest, highest = known_range("Labels", y) or (0, 0)
        if lowest < 0 or highest >= self.backbone.vocabulary_size:
            raise InputError(
                f"Labels go from {lowest} to {highest}, but the vocabulary has the ids 0 to "
                f"{self.backbone.vocabulary_size - 1}."
            )
        return y

    def _training_batch(self, x, y, sample_weight):
        batch = super()._training_batch(x, y, sample_weight)
        if self.preprocessor is None:
            return batch
        length = batch[0]["decoder_token_ids"].shape[1]
        return (batch[0], *(values[:, :length] for values in batch[1:]))

    def _prediction_batch(self, x, y, sample_weight):
        if self.preprocessor is None:
            return super()._prediction_batch(x, y, sample_weight)
        inputs, _, _ = self.preprocessor(x)
        self.check_inputs(inputs)
        # The logits of all batches have one length, which is the decoder's.
        return ({**inputs, **_encoder_part(without_needless_padding(inputs))},)

    def _logits(self, vectors):
        return self.logits_bias(self.backbone.token_embedding(vectors, reverse=True))


def _encoder_part(inputs):
    return {name: values for name, values in inputs.items() if name.startswith("encoder_")}
