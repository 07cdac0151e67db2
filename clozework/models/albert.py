"""ALBERT: BERT with few parameters: blocks share their weights, and embeddings are narrow.

Paper: Lan et al., 2019, https://arxiv.org/abs/1909.11942
Differs from BERT in: groups of layers that are one block used several times; narrow embeddings,
which go through a dense layer; a SentencePiece vocabulary; no dropout.
"""

import keras

from clozework.layers import Dense, TransformerEncoder, activation_name
from clozework.models.bert import BertTokenizer
from clozework.models.built_in_presets import built_in_presets
from clozework.models.encoder_tables import (
    ENCODER_CONFIG,
    GELU_NEW,
    GELU_NEW_MASKED_LM_CONFIG,
    SEGMENT_EMBEDDING_ROWS,
    classifier_head,
    masked_lm_rows,
    sentence_piece_options,
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
    MaskedLM,
    MaskedLMPreprocessor,
    PooledOutputBackbone,
    PooledOutputClassifier,
    PooledOutputHead,
    QuestionAnswerer,
    TextClassifierPreprocessor,
    TextEmbedder,
    TextEmbedderPreprocessor,
    TokenClassifier,
)
from clozework.tokenizers import SentencePieceTokenizer

__all__ = [
    "AlbertBackbone",
    "AlbertMaskedLM",
    "AlbertMaskedLMPreprocessor",
    "AlbertQuestionAnswerer",
    "AlbertTextClassifier",
    "AlbertTextClassifierPreprocessor",
    "AlbertTextEmbedder",
    "AlbertTextEmbedderPreprocessor",
    "AlbertTokenClassifier",
    "AlbertTokenizer",
]


class AlbertBackbone(PooledOutputBackbone):
    """ALBERT encoder: one vector per token, and one for the text.

    Args:
        num_layers: Number of times that a group of blocks is applied, over all groups.
        embedding_dim: Width of the embeddings.
        num_groups: Groups with weights of their own; must divide `num_layers`.
        num_inner_repetitions: Blocks in a group, each with weights of its own.
        vocabulary_size, num_heads, hidden_dim, intermediate_dim, dropout, max_sequence_length,
            num_segments, dtype, activation, layer_norm_epsilon, inputs and outputs: As in
            `BertBackbone`.

    Example:
    >>> backbone = AlbertBackbone(30, 4, 2, embedding_dim=4, hidden_dim=8, intermediate_dim=16)
    >>> backbone(dict.fromkeys(backbone.input_names, np.ones((1, 4), int)))["pooled_output"].shape
    (1, 8)
    """

    def __init__(
        self,
        vocabulary_size,
        num_layers,
        num_heads,
        embedding_dim,
        hidden_dim,
        intermediate_dim,
        num_groups=1,
        num_inner_repetitions=1,
        dropout=0.0,
        max_sequence_length=512,
        num_segments=2,
        dtype=None,
        *,
        activation="gelu_tanh",
        layer_norm_epsilon=1e-12,
        **kwargs,
    ):
        self.make_embeddings(
            vocabulary_size,
            embedding_dim,
            max_sequence_length=max_sequence_length,
            num_segments=num_segments,
            dropout=dropout,
            layer_norm_epsilon=layer_norm_epsilon,
            dtype=dtype,
        )
        self.embeddings_projection = Dense(
            hidden_dim,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            dtype=dtype,
            name="embedding_projection",
        )
        self.transformer_layers = [
            [
                TransformerEncoder(
                    intermediate_dim,
                    num_heads,
                    dropout=dropout,
                    activation=activation_name(activation),
                    layer_norm_epsilon=layer_norm_epsilon,
                    kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
                    dtype=dtype,
                    name=f"group_{i}_inner_layer_{j}",
                )
                for j in range(num_inner_repetitions)
            ]
            for i in range(num_groups)
        ]
        self.make_pooled_dense(hidden_dim, dtype)

        inputs = self.symbolic_inputs()
        x = self.embeddings_projection(self.embeddings_dropout(self.embedded(inputs)))
        for group in self.transformer_layers:
            for layer in group * (num_layers // num_groups):
                x = layer(x, padding_mask=inputs["padding_mask"])
        super().__init__(inputs=inputs, outputs=self.outputs_of(x), dtype=dtype, **kwargs)


class AlbertTokenizer(SentencePieceTokenizer):
    """SentencePiece with ALBERT's special tokens, which are pieces of its model.

    Args:
        proto: A SentencePiece model: its path, its bytes, or these in base64.
        **kwargs: As in `SentencePieceTokenizer`. Checkpoints of Hugging Face set `lowercase`,
            `strip_accents` and `uses_albert_rules`, which KerasHub does not have.
    """

    special_tokens_by_role = {**BertTokenizer.special_tokens_by_role, "pad": "<pad>"}
    num_separators = 1

    def __init__(self, proto=None, **kwargs):
        super().__init__(proto, **kwargs)


class AlbertTextClassifierPreprocessor(TextClassifierPreprocessor):
    """Turns strings, or pairs of strings, into inputs for `AlbertTextClassifier`."""

    backbone_cls = AlbertBackbone
    tokenizer_cls = AlbertTokenizer


class AlbertMaskedLMPreprocessor(MaskedLMPreprocessor):
    """Turns strings into inputs with masks for `AlbertMaskedLM`."""

    backbone_cls = AlbertBackbone
    tokenizer_cls = AlbertTokenizer


class AlbertMaskedLM(MaskedLM):
    """ALBERT with the head that predicts masked tokens; see `MaskedLM`."""

    preprocessor_cls = AlbertMaskedLMPreprocessor

    def __init__(
        self,
        backbone,
        preprocessor=None,
        *,
        head_activation="gelu_tanh",
        head_layer_norm_epsilon=1e-5,
        **kwargs,
    ):
        super().__init__(
            backbone,
            preprocessor,
            head_activation=head_activation,
            head_layer_norm_epsilon=head_layer_norm_epsilon,
            **kwargs,
        )


class AlbertTextClassifier(PooledOutputClassifier):
    """ALBERT with a classifier on its pooled output; see `TextClassifier`."""

    preprocessor_cls = AlbertTextClassifierPreprocessor
    head = PooledOutputHead(dropout_name="output_dropout")
    learning_rate = 1e-5


class AlbertTokenClassifier(TokenClassifier):
    """ALBERT with a classifier on each token's vector; see `TokenClassifier`."""

    preprocessor_cls = AlbertTextClassifierPreprocessor


class AlbertQuestionAnswerer(QuestionAnswerer):
    """ALBERT that finds answers in a context; see `QuestionAnswerer`."""

    preprocessor_cls = AlbertTextClassifierPreprocessor


class AlbertTextEmbedderPreprocessor(TextEmbedderPreprocessor):
    """Turns strings into inputs for `AlbertTextEmbedder`."""

    backbone_cls = AlbertBackbone
    tokenizer_cls = AlbertTokenizer


class AlbertTextEmbedder(TextEmbedder):
    """ALBERT pooled to one vector for a text; see `TextEmbedder`."""

    preprocessor_cls = AlbertTextEmbedderPreprocessor


FAMILY = Family(
    name="albert",
    title="ALBERT",
    backbone=AlbertBackbone,
    tokenizer=AlbertTokenizer,
    tasks=(
        AlbertMaskedLM,
        AlbertTextClassifier,
        AlbertTextEmbedder,
        AlbertTokenClassifier,
        AlbertQuestionAnswerer,
    ),
    aliases={
        "AlbertClassifier": AlbertTextClassifier,
        "AlbertPreprocessor": AlbertTextClassifierPreprocessor,
    },
    presets=built_in_presets("albert"),
    hugging_face=HuggingFaceFormat(
        model_type="albert",
        architecture="AlbertModel",
        prefix="albert.",
        config={
            **ENCODER_CONFIG,
            "embedding_dim": "embedding_size",
            "num_groups": "num_hidden_groups",
            "num_inner_repetitions": "inner_group_num",
            "dropout": Converted("hidden_dropout_prob", default=0.0),
            "num_segments": "type_vocab_size",
            "activation": GELU_NEW,
            "layer_norm_epsilon": Converted("layer_norm_eps", default=1e-12),
        },
        fixed={"position_embedding_type": "absolute"},
        # What the first code of ALBERT had, and nothing reads.
        harmless=frozenset(
            "down_scale_factor gap_size layers_to_keep net_structure_type num_memory_blocks".split()
        ),
        rows=(
            *SEGMENT_EMBEDDING_ROWS,
            Layer("embedding_projection", "encoder.embedding_hidden_mapping_in"),
            *encoder_block_rows(
                "group_{i}_inner_layer_{j}",
                "encoder.albert_layer_groups.{i}.albert_layers.{j}",
                query="attention.query",
                key="attention.key",
                value="attention.value",
                attention_output="attention.dense",
                self_attention_layer_norm="attention.LayerNorm",
                feedforward_intermediate_dense="ffn",
                feedforward_output_dense="ffn_output",
                feedforward_layer_norm="full_layer_layer_norm",
            ),
            Layer("pooled_dense", "pooler", is_optional=True),
        ),
        unused=("embeddings.position_ids", "sop_classifier.*", "predictions.decoder.*"),
        heads={
            "MaskedLM": HuggingFaceHead(
                architecture="AlbertForMaskedLM",
                rows=masked_lm_rows("predictions.dense", "predictions.LayerNorm", "predictions"),
                config=GELU_NEW_MASKED_LM_CONFIG,
                skips=("pooled_dense",),
            ),
            "TextClassifier": classifier_head(
                "AlbertForSequenceClassification",
                dropout=Converted("classifier_dropout_prob", default=0.1),
            ),
            **token_heads("Albert", skips=("pooled_dense",)),
        },
        tokenizer_class="AlbertTokenizer",
        tokenizer_files={"spiece.model": "proto"},
        tokenizer_options=sentence_piece_options(lowercase=True, keep_accents=False),
        has_tokenizer_json=True,
        tokenizer_implied={"uses_albert_rules": True},
    ),
)

register(FAMILY)
