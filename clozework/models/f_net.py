"""FNet: an encoder that mixes tokens with Fourier transforms instead of attention.

Paper: Lee-Thorp et al., 2021, https://arxiv.org/abs/2105.03824
Differs from BERT in: Fourier mixing, which has no weights; one more dense layer after the
embeddings; a SentencePiece vocabulary; no padding mask, so that its numbers belong to the length of
the row, padding included.
"""

import keras

from clozework.layers import Dense, FNetEncoder, activation_name
from clozework.models.albert import AlbertTokenizer
from clozework.models.built_in_presets import built_in_presets
from clozework.models.encoder_tables import (
    ENCODER_CONFIG,
    GELU_NEW,
    GELU_NEW_MASKED_LM_CONFIG,
    SEGMENT_EMBEDDING_ROWS,
    bert_masked_lm_rows,
    classifier_head,
    sentence_piece_options,
    token_heads,
)
from clozework.presets import (
    Converted,
    Family,
    HuggingFaceFormat,
    HuggingFaceHead,
    Layer,
    register,
)
from clozework.tasks import (
    MaskedLM,
    MaskedLMPreprocessor,
    PooledOutputBackbone,
    PooledOutputClassifier,
    QuestionAnswerer,
    TextClassifierPreprocessor,
    TextEmbedder,
    TextEmbedderPreprocessor,
    TokenClassifier,
)
from clozework.tokenizers import SentencePieceTokenizer

__all__ = [
    "FNetBackbone",
    "FNetMaskedLM",
    "FNetMaskedLMPreprocessor",
    "FNetQuestionAnswerer",
    "FNetTextClassifier",
    "FNetTextClassifierPreprocessor",
    "FNetTextEmbedder",
    "FNetTextEmbedderPreprocessor",
    "FNetTokenClassifier",
    "FNetTokenizer",
]


class FNetBackbone(PooledOutputBackbone):
    """FNet encoder: one vector per token, and one for the text.

    There is no padding mask: padding is mixed with the rest, so the outputs are those of a row of
    this length, and a shorter or longer row of the same text has others.

    Args:
        vocabulary_size: Number of tokens in the vocabulary.
        num_layers: Number of blocks.
        hidden_dim: Width of the token vectors.
        intermediate_dim: Width of the hidden layer of each feed-forward network.
        dropout: Share of activations dropped in training, everywhere.
        max_sequence_length: Longest input, in tokens, that has position embeddings.
        num_segments: Number of kinds of `segment_ids`.
        dtype: Precision of computation and weights, as in `keras.layers.Layer`.
        activation: Of the feed-forward networks.
        layer_norm_epsilon: Added to the variance in layer normalisation.

    Inputs: int32 `"token_ids"` and `"segment_ids"`, each `(batch, tokens)`.
    Outputs: `"sequence_output"` `(batch, tokens, hidden_dim)` and `"pooled_output"`
        `(batch, hidden_dim)`.

    Example:
    >>> backbone = FNetBackbone(
    ...     vocabulary_size=30, num_layers=2, hidden_dim=8, intermediate_dim=16
    ... )
    >>> ids = np.array([[2, 7, 9, 3]])
    >>> backbone({"token_ids": ids, "segment_ids": 0 * ids})["pooled_output"].shape
    (1, 8)
    """

    input_names = ("token_ids", "segment_ids")

    def __init__(
        self,
        vocabulary_size,
        num_layers,
        hidden_dim,
        intermediate_dim,
        dropout=0.1,
        max_sequence_length=512,
        num_segments=4,
        dtype=None,
        *,
        activation="gelu_tanh",
        layer_norm_epsilon=1e-12,
        **kwargs,
    ):
        initializer = keras.initializers.TruncatedNormal(stddev=0.02)
        self.make_embeddings(
            vocabulary_size,
            hidden_dim,
            max_sequence_length=max_sequence_length,
            num_segments=num_segments,
            dropout=dropout,
            layer_norm_epsilon=layer_norm_epsilon,
            dtype=dtype,
        )
        self.embedding_projection = Dense(
            hidden_dim,
            kernel_initializer=initializer.clone(),
            dtype=dtype,
            name="embedding_projection",
        )
        self.transformer_layers = [
            FNetEncoder(
                intermediate_dim,
                dropout=dropout,
                activation=activation_name(activation),
                layer_norm_epsilon=layer_norm_epsilon,
                kernel_initializer=initializer.clone(),
                dtype=dtype,
                name=f"f_net_layer_{i}",
            )
            for i in range(num_layers)
        ]
        self.make_pooled_dense(hidden_dim, dtype)

        inputs = self.symbolic_inputs()
        x = self.embedding_projection(self.embedded(inputs))
        x = self.embeddings_dropout(x)
        for layer in self.transformer_layers:
            x = layer(x)
        super().__init__(inputs=inputs, outputs=self.outputs_of(x), dtype=dtype, **kwargs)


class FNetTokenizer(SentencePieceTokenizer):
    """SentencePiece with FNet's special tokens, which are pieces of its model.

    Args:
        proto: A SentencePiece model: its path, its bytes, or these in base64.
        **kwargs: As in `AlbertTokenizer`.
    """

    special_tokens_by_role = AlbertTokenizer.special_tokens_by_role
    num_separators = 1

    def __init__(self, proto=None, **kwargs):
        super().__init__(proto, **kwargs)


class FNetTextClassifierPreprocessor(TextClassifierPreprocessor):
    """Turns strings, or pairs of strings, into inputs for `FNetTextClassifier`."""

    backbone_cls = FNetBackbone
    tokenizer_cls = FNetTokenizer


class FNetMaskedLMPreprocessor(MaskedLMPreprocessor):
    """Turns strings into inputs with masks for `FNetMaskedLM`."""

    backbone_cls = FNetBackbone
    tokenizer_cls = FNetTokenizer


class FNetMaskedLM(MaskedLM):
    """FNet with the head that predicts masked tokens; see `MaskedLM`."""

    preprocessor_cls = FNetMaskedLMPreprocessor


class FNetTextClassifier(PooledOutputClassifier):
    """FNet with a classifier on its pooled output; see `TextClassifier`."""

    preprocessor_cls = FNetTextClassifierPreprocessor


class FNetTextEmbedderPreprocessor(TextEmbedderPreprocessor):
    """Turns strings into inputs for `FNetTextEmbedder`."""

    backbone_cls = FNetBackbone
    tokenizer_cls = FNetTokenizer


class FNetTextEmbedder(TextEmbedder):
    """FNet pooled to one vector for a text, padding left out; see `TextEmbedder`."""

    preprocessor_cls = FNetTextEmbedderPreprocessor


class FNetTokenClassifier(TokenClassifier):
    """FNet with a classifier on each token's vector; see `TokenClassifier`."""

    preprocessor_cls = FNetTextClassifierPreprocessor


class FNetQuestionAnswerer(QuestionAnswerer):
    """FNet that finds answers in a context; see `QuestionAnswerer`."""

    preprocessor_cls = FNetTextClassifierPreprocessor


FAMILY = Family(
    name="f_net",
    title="FNet",
    backbone=FNetBackbone,
    tokenizer=FNetTokenizer,
    tasks=(
        FNetMaskedLM,
        FNetTextClassifier,
        FNetTextEmbedder,
        FNetTokenClassifier,
        FNetQuestionAnswerer,
    ),
    aliases={
        "FNetClassifier": FNetTextClassifier,
        "FNetPreprocessor": FNetTextClassifierPreprocessor,
    },
    presets=built_in_presets("f_net"),
    hugging_face=HuggingFaceFormat(
        model_type="fnet",
        architecture="FNetModel",
        prefix="fnet.",
        config={
            **{ours: row for ours, row in ENCODER_CONFIG.items() if ours != "num_heads"},
            "activation": GELU_NEW,
            "num_segments": "type_vocab_size",
            "layer_norm_epsilon": Converted("layer_norm_eps", default=1e-12),
        },
        # How the transform is computed, not what it gives.
        harmless=frozenset({"tpu_short_seq_length", "use_tpu_fourier_optimizations"}),
        rows=(
            *SEGMENT_EMBEDDING_ROWS,
            Layer("embedding_projection", "embeddings.projection"),
            Layer(
                "f_net_layer_{i}/mixing_layer_norm", "encoder.layer.{i}.fourier.output.LayerNorm"
            ),
            Layer("f_net_layer_{i}/intermediate_dense", "encoder.layer.{i}.intermediate.dense"),
            Layer("f_net_layer_{i}/output_dense", "encoder.layer.{i}.output.dense"),
            Layer("f_net_layer_{i}/output_layer_norm", "encoder.layer.{i}.output.LayerNorm"),
            Layer("pooled_dense", "pooler.dense", is_optional=True),
        ),
        unused=("embeddings.position_ids", "cls.seq_relationship.*", "cls.predictions.decoder.*"),
        heads={
            "MaskedLM": HuggingFaceHead(
                architecture="FNetForMaskedLM",
                rows=bert_masked_lm_rows(),
                config=GELU_NEW_MASKED_LM_CONFIG,
            ),
            "TextClassifier": classifier_head("FNetForSequenceClassification"),
            **token_heads("FNet"),
        },
        tokenizer_class="FNetTokenizer",
        tokenizer_files={"spiece.model": "proto"},
        tokenizer_options=sentence_piece_options(lowercase=False, keep_accents=True),
        has_tokenizer_json=True,
    ),
)

register(FAMILY)
