"""ELECTRA: an encoder trained to tell which words of a text another, smaller encoder has replaced.

Paper: Clark et al., 2020, https://arxiv.org/abs/2003.10555
Differs from BERT in: how it is trained, so that a checkpoint is a discriminator, which finds
replaced words, or a generator, which fills masks; embeddings that may have another width than the
blocks, and then go through a dense layer.
"""

import keras

from clozework.layers import Dense, TransformerEncoder, activation_name
from clozework.models.bert import BertTokenizer
from clozework.models.built_in_presets import built_in_presets
from clozework.models.encoder_tables import (
    ENCODER_CONFIG,
    MASKED_LM_CONFIG,
    SEGMENT_EMBEDDING_ROWS,
    WORD_PIECE_OPTIONS,
    classifier_head,
    masked_lm_rows,
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
    FirstTokenHead,
    MaskedLM,
    MaskedLMPreprocessor,
    PooledOutputBackbone,
    QuestionAnswerer,
    TextClassifier,
    TextClassifierPreprocessor,
    TextEmbedder,
    TextEmbedderPreprocessor,
    TokenClassifier,
)
from clozework.tokenizers import WordPieceTokenizer

__all__ = [
    "ElectraBackbone",
    "ElectraMaskedLM",
    "ElectraMaskedLMPreprocessor",
    "ElectraQuestionAnswerer",
    "ElectraTextClassifier",
    "ElectraTextClassifierPreprocessor",
    "ElectraTextEmbedder",
    "ElectraTextEmbedderPreprocessor",
    "ElectraTokenClassifier",
    "ElectraTokenizer",
]


class ElectraBackbone(PooledOutputBackbone):
    """ELECTRA encoder: one vector per token, and one for the text.

    Checkpoints of Hugging Face have no layer for the pooled output, which is random after loading
    one: train the model before you use `"pooled_output"`. Its tasks here do not.

    Args:
        vocab_size: Number of tokens in the vocabulary; also the attribute `vocabulary_size`.
        embedding_dim: Width of the embeddings; where it is not `hidden_dim`, a dense layer follows.
        num_layers, num_heads, hidden_dim, intermediate_dim, dropout, max_sequence_length,
            num_segments, dtype, activation, layer_norm_epsilon: As in `BertBackbone`.

    Inputs, outputs: As in `BertBackbone`.

    Example:
    >>> backbone = ElectraBackbone(
    ...     vocab_size=30,
    ...     num_layers=2,
    ...     num_heads=2,
    ...     hidden_dim=8,
    ...     embedding_dim=4,
    ...     intermediate_dim=16,
    ... )
    >>> ids = np.array([[2, 7, 9, 3]])
    >>> inputs = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1}
    >>> backbone(inputs)["sequence_output"].shape
    (1, 4, 8)
    """

    input_limits = {"token_ids": "vocab_size", "segment_ids": "num_segments"}

    def __init__(
        self,
        vocab_size,
        num_layers,
        num_heads,
        hidden_dim,
        embedding_dim,
        intermediate_dim,
        dropout=0.1,
        max_sequence_length=512,
        num_segments=2,
        dtype=None,
        *,
        activation="gelu_tanh",
        layer_norm_epsilon=1e-12,
        **kwargs,
    ):
        initializer = keras.initializers.TruncatedNormal(stddev=0.02)
        self.make_embeddings(
            vocab_size,
            embedding_dim,
            max_sequence_length=max_sequence_length,
            num_segments=num_segments,
            dropout=dropout,
            layer_norm_epsilon=layer_norm_epsilon,
            dtype=dtype,
        )
        if embedding_dim != hidden_dim:
            self.embeddings_projection = Dense(
                hidden_dim,
                kernel_initializer=initializer.clone(),
                dtype=dtype,
                name="embeddings_projection",
            )
        self.transformer_layers = [
            TransformerEncoder(
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
        self.make_pooled_dense(hidden_dim, dtype)

        inputs = self.symbolic_inputs()
        x = self.embeddings_dropout(self.embedded(inputs))
        if embedding_dim != hidden_dim:
            x = self.embeddings_projection(x)
        for layer in self.transformer_layers:
            x = layer(x, padding_mask=inputs["padding_mask"])
        super().__init__(inputs=inputs, outputs=self.outputs_of(x), dtype=dtype, **kwargs)

    @property
    def vocabulary_size(self):
        """Number of tokens in the vocabulary, as in every other family."""
        return self.vocab_size


class ElectraTokenizer(WordPieceTokenizer):
    """WordPiece with ELECTRA's special tokens, which are BERT's; see `BertTokenizer`."""

    special_tokens_by_role = BertTokenizer.special_tokens_by_role
    num_separators = 1

    def __init__(self, vocabulary=None, lowercase=False, **kwargs):
        super().__init__(vocabulary, lowercase=lowercase, **kwargs)


class ElectraTextClassifierPreprocessor(TextClassifierPreprocessor):
    """Turns strings, or pairs of strings, into inputs for `ElectraTextClassifier`."""

    backbone_cls = ElectraBackbone
    tokenizer_cls = ElectraTokenizer


class ElectraMaskedLMPreprocessor(MaskedLMPreprocessor):
    """Turns strings into inputs with masks for `ElectraMaskedLM`."""

    backbone_cls = ElectraBackbone
    tokenizer_cls = ElectraTokenizer


class ElectraMaskedLM(MaskedLM):
    """ELECTRA with the generator's head, which predicts masked tokens; see `MaskedLM`."""

    preprocessor_cls = ElectraMaskedLMPreprocessor


class ElectraTextClassifier(TextClassifier):
    """ELECTRA with a classifier on the first token's vector; see `TextClassifier`."""

    preprocessor_cls = ElectraTextClassifierPreprocessor
    head = FirstTokenHead("gelu")


class ElectraTextEmbedderPreprocessor(TextEmbedderPreprocessor):
    """Turns strings into inputs for `ElectraTextEmbedder`."""

    backbone_cls = ElectraBackbone
    tokenizer_cls = ElectraTokenizer


class ElectraTextEmbedder(TextEmbedder):
    """ELECTRA pooled to one vector for a text; see `TextEmbedder`."""

    preprocessor_cls = ElectraTextEmbedderPreprocessor


class ElectraTokenClassifier(TokenClassifier):
    """ELECTRA with a classifier on each token's vector; see `TokenClassifier`."""

    preprocessor_cls = ElectraTextClassifierPreprocessor


class ElectraQuestionAnswerer(QuestionAnswerer):
    """ELECTRA that finds answers in a context; see `QuestionAnswerer`."""

    preprocessor_cls = ElectraTextClassifierPreprocessor


FAMILY = Family(
    name="electra",
    title="ELECTRA",
    backbone=ElectraBackbone,
    tokenizer=ElectraTokenizer,
    tasks=(
        ElectraMaskedLM,
        ElectraTextClassifier,
        ElectraTextEmbedder,
        ElectraTokenClassifier,
        ElectraQuestionAnswerer,
    ),
    presets=built_in_presets("electra"),
    hugging_face=HuggingFaceFormat(
        model_type="electra",
        architecture="ElectraModel",
        prefix="electra.",
        config={
            **{ours: row for ours, row in ENCODER_CONFIG.items() if ours != "vocabulary_size"},
            "vocab_size": "vocab_size",
            "embedding_dim": "embedding_size",
            "num_segments": "type_vocab_size",
            "layer_norm_epsilon": Converted("layer_norm_eps", default=1e-12),
        },
        fixed={"position_embedding_type": "absolute"},
        # Of the head for multiple choice.
        harmless=frozenset(
            {"summary_activation", "summary_last_dropout", "summary_type", "summary_use_proj"}
        ),
        rows=(
            *SEGMENT_EMBEDDING_ROWS,
            Layer("embeddings_projection", "embeddings_project"),
            *encoder_block_rows("transformer_layer_{i}", "encoder.layer.{i}"),
        ),
        skips=("pooled_dense",),
        unused=(
            "embeddings.position_ids",
            "discriminator_predictions.*",
            "generator_lm_head.weight",
        ),
        heads={
            "MaskedLM": HuggingFaceHead(
                architecture="ElectraForMaskedLM",
                rows=masked_lm_rows(
                    dense="generator_predictions.dense",
                    norm="generator_predictions.LayerNorm",
                    bias="generator_lm_head",
                ),
                config={
                    "head_layer_norm_epsilon": MASKED_LM_CONFIG["head_layer_norm_epsilon"],
                },
                implied={"head_activation": "gelu"},
            ),
            "TextClassifier": classifier_head(
                "ElectraForSequenceClassification",
                Layer("pooled_dense", "classifier.dense"),
                Layer("logits", "classifier.out_proj"),
            ),
            **token_heads("Electra"),
        },
        tokenizer_class="ElectraTokenizer",
        tokenizer_files={"vocab.txt": "vocabulary"},
        tokenizer_options=WORD_PIECE_OPTIONS,
    ),
)

register(FAMILY)
