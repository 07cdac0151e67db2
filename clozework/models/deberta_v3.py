"""DeBERTaV3: an encoder whose attention scores content and relative position apart.

Papers: He et al., 2020, https://arxiv.org/abs/2006.03654 and He et al., 2021,
https://arxiv.org/abs/2111.09543
Differs from RoBERTa in: disentangled attention with relative positions in place of position
embeddings, a SentencePiece vocabulary, and GELU in the classifier.
"""

import keras

from clozework.layers import (
    DisentangledAttentionEncoder,
    Dropout,
    RelativeEmbedding,
    ReversibleEmbedding,
    activation_name,
)
from clozework.models.bert import BertTokenizer
from clozework.models.built_in_presets import built_in_presets
from clozework.models.encoder_tables import (
    ENCODER_CONFIG,
    MASKED_LM_CONFIG,
    bert_masked_lm_rows,
    classifier_head,
    token_heads,
)
from clozework.presets import (
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
from clozework.tokenizers import SentencePieceTokenizer

__all__ = [
    "DebertaV3Backbone",
    "DebertaV3MaskedLM",
    "DebertaV3MaskedLMPreprocessor",
    "DebertaV3QuestionAnswerer",
    "DebertaV3TextClassifier",
    "DebertaV3TextClassifierPreprocessor",
    "DebertaV3TextEmbedder",
    "DebertaV3TextEmbedderPreprocessor",
    "DebertaV3TokenClassifier",
    "DebertaV3Tokenizer",
]


class DebertaV3Backbone(Backbone):
    """DeBERTaV3 encoder: one vector per token.

    Args:
        vocabulary_size, num_layers, num_heads, hidden_dim, intermediate_dim, dropout, dtype: As in
            `BertBackbone`.
        max_sequence_length: Longest distance, in tokens, that relative positions tell apart.
        bucket_size: Buckets of relative positions on either side; farther ones share a bucket.
        activation: Of the feed-forward networks.
        layer_norm_epsilon: Added to the variance in layer normalisation.

    Inputs: int32 `"token_ids"` and `"padding_mask"` (1 for a token), each `(batch, tokens)`.
    Outputs: `(batch, tokens, hidden_dim)`.

    Example:
    >>> backbone = DebertaV3Backbone(
    ...     vocabulary_size=30, num_layers=2, num_heads=2, hidden_dim=8, intermediate_dim=16
    ... )
    >>> ids = np.array([[1, 7, 9, 2]])
    >>> backbone({"token_ids": ids, "padding_mask": 0 * ids + 1}).shape
    (1, 4, 8)
    """

    # Scores of positions take most of the time in longer rows.
    longest_usual_row = 256

    def __init__(
        self,
        vocabulary_size,
        num_layers,
        num_heads,
        hidden_dim,
        intermediate_dim,
        dropout=0.1,
        max_sequence_length=512,
        bucket_size=256,
        dtype=None,
        *,
        activation="gelu",
        layer_norm_epsilon=1e-7,
        **kwargs,
    ):
        initializer = keras.initializers.TruncatedNormal(stddev=0.02)
        self.token_embedding = ReversibleEmbedding(
            vocabulary_size,
            hidden_dim,
            embeddings_initializer=initializer.clone(),
            dtype=dtype,
            name="token_embedding",
        )
        self.embeddings_layer_norm = keras.layers.LayerNormalization(
            epsilon=layer_norm_epsilon, dtype=dtype, name="embeddings_layer_norm"
        )
        self.embeddings_dropout = Dropout(dropout, dtype=dtype, name="embeddings_dropout")
        self.relative_embeddings = RelativeEmbedding(
            hidden_dim,
            bucket_size,
            layer_norm_epsilon=layer_norm_epsilon,
            kernel_initializer=initializer.clone(),
            dtype=dtype,
            name="rel_embedding",
        )
        self.transformer_layers = [
            DisentangledAttentionEncoder(
                intermediate_dim,
                num_heads,
                max_position_embeddings=max_sequence_length,
                bucket_size=bucket_size,
                dropout=dropout,
                activation=activation_name(activation),
                layer_norm_epsilon=layer_norm_epsilon,
                kernel_initializer=initializer.clone(),
                dtype=dtype,
                name=f"disentangled_attention_encoder_layer_{i}",
            )
            for i in range(num_layers)
        ]
        inputs = self.symbolic_inputs()
        super().__init__(inputs=inputs, outputs=self._flow(inputs), dtype=dtype, **kwargs)

    def _flow(self, inputs):
        x = self.token_embedding(inputs["token_ids"])
        x = self.embeddings_layer_norm(x)
        x = self.embeddings_dropout(x)
        rel_embeddings = self.relative_embeddings(x)
        for layer in self.transformer_layers:
            x = layer(x, rel_embeddings=rel_embeddings, padding_mask=inputs["padding_mask"])
        return x


class DebertaV3Tokenizer(SentencePieceTokenizer):
    """SentencePiece with DeBERTa's special tokens.

    Args:
        proto: A SentencePiece model: its path, its bytes, or these in base64.

    `[MASK]` is the model's own piece of that name, else one more id after the last.
    """

    special_tokens_by_role = BertTokenizer.special_tokens_by_role
    num_separators = 1
    appended_tokens = ("[MASK]",)

    def __init__(self, proto=None, **kwargs):
        super().__init__(proto, **kwargs)


class DebertaV3TextClassifierPreprocessor(TextClassifierPreprocessor):
    """Turns strings, or pairs of strings, into inputs for `DebertaV3TextClassifier`."""

    backbone_cls = DebertaV3Backbone
    tokenizer_cls = DebertaV3Tokenizer


class DebertaV3MaskedLMPreprocessor(MaskedLMPreprocessor):
    """Turns strings into inputs with masks for `DebertaV3MaskedLM`."""

    backbone_cls = DebertaV3Backbone
    tokenizer_cls = DebertaV3Tokenizer


class DebertaV3MaskedLM(MaskedLM):
    """DeBERTaV3 with the head that predicts masked tokens; see `MaskedLM`."""

    preprocessor_cls = DebertaV3MaskedLMPreprocessor


class DebertaV3TextClassifier(TextClassifier):
    """DeBERTaV3 with a classifier on the first token's vector; see `TextClassifier`."""

    preprocessor_cls = DebertaV3TextClassifierPreprocessor
    head = FirstTokenHead("gelu")


class DebertaV3TextEmbedderPreprocessor(TextEmbedderPreprocessor):
    """Turns strings into inputs for `DebertaV3TextEmbedder`."""

    backbone_cls = DebertaV3Backbone
    tokenizer_cls = DebertaV3Tokenizer


class DebertaV3TextEmbedder(TextEmbedder):
    """DeBERTaV3 pooled to one vector for a text; see `TextEmbedder`."""

    preprocessor_cls = DebertaV3TextEmbedderPreprocessor


class DebertaV3TokenClassifier(TokenClassifier):
    """DeBERTaV3 with a classifier on each token's vector; see `TokenClassifier`."""

    preprocessor_cls = DebertaV3TextClassifierPreprocessor


class DebertaV3QuestionAnswerer(QuestionAnswerer):
    """DeBERTaV3 that finds answers in a context; see `QuestionAnswerer`."""

    preprocessor_cls = DebertaV3TextClassifierPreprocessor


FAMILY = Family(
    name="deberta_v3",
    title="DeBERTaV3",
    backbone=DebertaV3Backbone,
    tokenizer=DebertaV3Tokenizer,
    tasks=(
        DebertaV3MaskedLM,
        DebertaV3TextClassifier,
        DebertaV3TextEmbedder,
        DebertaV3TokenClassifier,
        DebertaV3QuestionAnswerer,
    ),
    aliases={
        "DebertaV3Classifier": DebertaV3TextClassifier,
        "DebertaV3Preprocessor": DebertaV3TextClassifierPreprocessor,
    },
    presets=built_in_presets("deberta_v3"),
    hugging_face=HuggingFaceFormat(
        model_type="deberta-v2",
        architecture="DebertaV2Model",
        prefix="deberta.",
        config={
            **ENCODER_CONFIG,
            "bucket_size": "position_buckets",
            "layer_norm_epsilon": Converted("layer_norm_eps", default=1e-7),
        },
        fixed={
            "relative_attention": True,
            "position_biased_input": False,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pos_att_type": (["p2c", "c2p"], ["c2p", "p2c"], "p2c|c2p", "c2p|p2c"),
            "max_relative_positions": (-1, 0),
            "type_vocab_size": 0,
            "conv_kernel_size": 0,
            "pooler_hidden_act": "gelu",
            "legacy": (True, False),
        },
        stated=frozenset({"relative_attention", "norm_rel_ebd", "share_att_key", "pos_att_type"}),
        harmless=frozenset({"conv_act", "pooler_dropout", "pooler_hidden_size"}),
        rows=(
            Layer("token_embedding", "embeddings.word_embeddings"),
            Layer("embeddings_layer_norm", "embeddings.LayerNorm"),
            Layer("rel_embedding", "encoder.rel_embeddings"),
            Layer("rel_embedding/rel_embeddings_layer_norm", "encoder.LayerNorm"),
            *encoder_block_rows(
                "disentangled_attention_encoder_layer_{i}",
                "encoder.layer.{i}",
                query="attention.self.query_proj",
                key="attention.self.key_proj",
                value="attention.self.value_proj",
            ),
        ),
        # The released checkpoints hold their replaced-token detector, which nothing here uses.
        unused=(
            "embeddings.position_ids",
            "mask_predictions.*",
            "cls.predictions.decoder.*",
            "lm_predictions.lm_head.decoder.*",
        ),
        heads={
            "MaskedLM": HuggingFaceHead(
                architecture="DebertaV2ForMaskedLM",
                rows=bert_masked_lm_rows("lm_predictions.lm_head"),
                config=MASKED_LM_CONFIG,
            ),
            "TextClassifier": classifier_head(
                "DebertaV2ForSequenceClassification", Layer("pooled_dense", "pooler.dense")
            ),
            **token_heads("DebertaV2"),
        },
        tokenizer_class="DebertaV2Tokenizer",
        tokenizer_files={"spm.model": "proto"},
    ),
)

register(FAMILY)
