"""MPNet: an encoder trained on masked words that come in any order.

Paper: Song et al., 2020, https://arxiv.org/abs/2004.09297
Differs from RoBERTa in: a learned bias for the distance of two tokens in attention, shared by all
layers; WordPiece, with RoBERTa's names of special tokens.
"""

import keras
import numpy as np

from clozework.layers import (
    BiasedTransformerEncoder,
    Dropout,
    RelativePositionBias,
    TokenAndPositionEmbedding,
    activation_name,
)
from clozework.models.built_in_presets import built_in_presets
from clozework.models.encoder_tables import (
    ENCODER_CONFIG,
    MASKED_LM_CONFIG,
    WORD_PIECE_OPTIONS,
    classifier_head,
    masked_lm_rows,
    token_heads,
)
from clozework.models.roberta import HUGGING_FACE as ROBERTA
from clozework.presets import (
    Computed,
    Converted,
    Family,
    HuggingFaceFormat,
    HuggingFaceHead,
    Layer,
    encoder_block_rows,
    register,
)
from clozework.tasks import (
    Backbone,
    FirstTokenHead,
    MaskedLM,
    MaskedLMPreprocessor,
    QuestionAnswerer,
    TextClassifier,
    TextClassifierPreprocessor,
    TextEmbedder,
    TextEmbedderPreprocessor,
    TokenClassifier,
)
from clozework.tokenizers import WordPieceTokenizer

__all__ = [
    "MPNetBackbone",
    "MPNetMaskedLM",
    "MPNetMaskedLMPreprocessor",
    "MPNetQuestionAnswerer",
    "MPNetTextClassifier",
    "MPNetTextClassifierPreprocessor",
    "MPNetTextEmbedder",
    "MPNetTextEmbedderPreprocessor",
    "MPNetTokenClassifier",
    "MPNetTokenizer",
]


class MPNetBackbone(Backbone):
    """MPNet encoder: one vector per token.

    Args:
        vocabulary_size, num_layers, num_heads, hidden_dim, intermediate_dim, dropout,
            max_sequence_length, dtype: As in `BertBackbone`.
        activation: Of the feed-forward networks.
        layer_norm_epsilon: Added to the variance in layer normalisation.

    Inputs: int32 `"token_ids"` and `"padding_mask"` (1 for a token), each `(batch, tokens)`.
    Outputs: `(batch, tokens, hidden_dim)`.

    Example:
    >>> backbone = MPNetBackbone(
    ...     vocabulary_size=30, num_layers=2, num_heads=2, hidden_dim=8, intermediate_dim=16
    ... )
    >>> ids = np.array([[0, 7, 9, 2]])
    >>> backbone({"token_ids": ids, "padding_mask": 0 * ids + 1}).shape
    (1, 4, 8)
    """

    def __init__(
        self,
        vocabulary_size,
        num_layers,
        num_heads,
        hidden_dim,
        intermediate_dim,
        dropout=0.1,
        max_sequence_length=512,
        dtype=None,
        *,
        activation="gelu",
        layer_norm_epsilon=1e-5,
        **kwargs,
    ):
        initializer = keras.initializers.TruncatedNormal(stddev=0.02)
        self.embeddings = TokenAndPositionEmbedding(
            vocabulary_size,
            max_sequence_length,
            hidden_dim,
            embeddings_initializer=initializer.clone(),
            dtype=dtype,
            name="embeddings",
        )
        self.token_embedding = self.embeddings.token_embedding
        self.embeddings_layer_norm = keras.layers.LayerNormalization(
            epsilon=layer_norm_epsilon, dtype=dtype, name="embeddings_layer_norm"
        )
        self.embeddings_dropout = Dropout(dropout, dtype=dtype, name="embeddings_dropout")
        self.relative_position_bias = RelativePositionBias(
            num_heads, initializer=initializer.clone(), dtype=dtype, name="relative_position_bias"
        )
        self.transformer_layers = [
            BiasedTransformerEncoder(
                intermediate_dim,
                num_heads,
                dropout=dropout,
                activation=activation_name(activation),
                layer_norm_epsilon=layer_norm_epsilon,
                kernel_initializer=initializer.clone(),
                dtype=dtype,
                name=f"transformer_layer_{i}",
            )
            for i in range(num_layers)
        ]

        inputs = self.symbolic_inputs()
        x = self.embeddings(inputs["token_ids"], padding_mask=inputs["padding_mask"])
        x = self.embeddings_layer_norm(x)
        x = self.embeddings_dropout(x)
        position_bias = self.relative_position_bias(x)
        for layer in self.transformer_layers:
            x = layer(x, position_bias=position_bias, padding_mask=inputs["padding_mask"])
        super().__init__(inputs=inputs, outputs=x, dtype=dtype, **kwargs)


class MPNetTokenizer(WordPieceTokenizer):
    """WordPiece with the names that RoBERTa gives special tokens; see `BertTokenizer`.

    Example:
    >>> tokenizer = MPNetTokenizer(["<s>", "<pad>", "</s>", "[UNK]", "the", "fox", "<mask>"])
    >>> tokenizer("the fox").tolist()
    [4, 5]
    """

    special_tokens_by_role = {"start": "<s>", "pad": "<pad>", "end": "</s>", "mask": "<mask>"}
    num_separators = 2

    def __init__(self, vocabulary=None, lowercase=False, **kwargs):
        super().__init__(vocabulary, lowercase=lowercase, **kwargs)


class MPNetTextClassifierPreprocessor(TextClassifierPreprocessor):
    """Turns strings, or pairs of strings, into inputs for `MPNetTextClassifier`."""

    backbone_cls = MPNetBackbone
    tokenizer_cls = MPNetTokenizer


class MPNetMaskedLMPreprocessor(MaskedLMPreprocessor):
    """Turns strings into inputs with masks for `MPNetMaskedLM`."""

    backbone_cls = MPNetBackbone
    tokenizer_cls = MPNetTokenizer


class MPNetMaskedLM(MaskedLM):
    """MPNet with the head that predicts masked tokens; see `MaskedLM`."""

    preprocessor_cls = MPNetMaskedLMPreprocessor


class MPNetTextClassifier(TextClassifier):
    """MPNet with a classifier on the first token's vector; see `TextClassifier`."""

    preprocessor_cls = MPNetTextClassifierPreprocessor
    head = FirstTokenHead("tanh")


class MPNetTextEmbedderPreprocessor(TextEmbedderPreprocessor):
    """Turns strings into inputs for `MPNetTextEmbedder`."""

    backbone_cls = MPNetBackbone
    tokenizer_cls = MPNetTokenizer


class MPNetTextEmbedder(TextEmbedder):
    """MPNet pooled to one vector for a text; see `TextEmbedder`."""

    preprocessor_cls = MPNetTextEmbedderPreprocessor


class MPNetTokenClassifier(TokenClassifier):
    """MPNet with a classifier on each token's vector; see `TokenClassifier`."""

    preprocessor_cls = MPNetTextClassifierPreprocessor


class MPNetQuestionAnswerer(QuestionAnswerer):
    """MPNet that finds answers in a context; see `QuestionAnswerer`."""

    preprocessor_cls = MPNetTextClassifierPreprocessor


def _without_fairseq_rows(positions: np.ndarray) -> np.ndarray:
    """Drops the two rows that fairseq keeps for padding."""
    return positions[2:]


def _with_fairseq_rows(positions: np.ndarray) -> tuple[np.ndarray]:
    """Puts the two rows back."""
    return (np.concatenate([np.zeros_like(positions[:2]), positions]),)


FAMILY = Family(
    name="mpnet",
    title="MPNet",
    backbone=MPNetBackbone,
    tokenizer=MPNetTokenizer,
    tasks=(
        MPNetMaskedLM,
        MPNetTextClassifier,
        MPNetTextEmbedder,
        MPNetTokenClassifier,
        MPNetQuestionAnswerer,
    ),
    presets=built_in_presets("mpnet"),
    hugging_face=HuggingFaceFormat(
        model_type="mpnet",
        architecture="MPNetModel",
        prefix="mpnet.",
        config={
            **ENCODER_CONFIG,
            "max_sequence_length": ROBERTA.config["max_sequence_length"],
            "layer_norm_epsilon": Converted("layer_norm_eps", default=1e-12),
        },
        # Their code takes 32 buckets, whatever the config says, and counts positions from 2.
        fixed={"relative_attention_num_buckets": 32, "pad_token_id": 1},
        rows=(
            Layer("embeddings/token_embedding", "embeddings.word_embeddings"),
            Computed(
                "embeddings/position_embedding/embeddings",
                needs=("embeddings.position_embeddings.weight",),
                read_values=_without_fairseq_rows,
                write_values=_with_fairseq_rows,
            ),
            Layer("embeddings_layer_norm", "embeddings.LayerNorm"),
            Layer("relative_position_bias", "encoder.relative_attention_bias"),
            *encoder_block_rows(
                "transformer_layer_{i}",
                "encoder.layer.{i}",
                query="attention.attn.q",
                key="attention.attn.k",
                value="attention.attn.v",
                attention_output="attention.attn.o",
                self_attention_layer_norm="attention.LayerNorm",
            ),
        ),
        unused=("embeddings.position_ids", "pooler.dense.*", "lm_head.decoder.*"),
        heads={
            "MaskedLM": HuggingFaceHead(
                architecture="MPNetForMaskedLM",
                rows=masked_lm_rows("lm_head.dense", "lm_head.layer_norm", "lm_head"),
                config={"head_layer_norm_epsilon": MASKED_LM_CONFIG["head_layer_norm_epsilon"]},
                implied={"head_activation": "gelu"},
            ),
            "TextClassifier": classifier_head(
                "MPNetForSequenceClassification",
                Layer("pooled_dense", "classifier.dense"),
                Layer("logits", "classifier.out_proj"),
            ),
            **token_heads("MPNet"),
        },
        tokenizer_class="MPNetTokenizer",
        tokenizer_files={"vocab.txt": "vocabulary"},
        tokenizer_options=WORD_PIECE_OPTIONS,
    ),
)

register(FAMILY)
