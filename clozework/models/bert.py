"""BERT: the transformer encoder trained to fill masks and to tell which sentence comes next.

Paper: Devlin et al., 2018, https://arxiv.org/abs/1810.04805
Every other encoder here is described by how it differs from this one.
"""

import keras

from clozework.layers import TransformerEncoder, activation_name
from clozework.models.built_in_presets import built_in_presets
from clozework.models.encoder_tables import (
    ENCODER_CONFIG,
    MASKED_LM_CONFIG,
    SEGMENT_EMBEDDING_ROWS,
    WORD_PIECE_OPTIONS,
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
from clozework.tokenizers import WordPieceTokenizer

__all__ = [
    "BertBackbone",
    "BertMaskedLM",
    "BertMaskedLMPreprocessor",
    "BertQuestionAnswerer",
    "BertTextClassifier",
    "BertTextClassifierPreprocessor",
    "BertTextEmbedder",
    "BertTextEmbedderPreprocessor",
    "BertTokenClassifier",
    "BertTokenizer",
]


class BertBackbone(PooledOutputBackbone):
    """BERT encoder: one vector per token, and one for the text.

    Args:
        vocabulary_size: Number of tokens in the vocabulary.
        num_layers: Number of transformer blocks.
        num_heads: Attention heads per block; must divide `hidden_dim`.
        hidden_dim: Width of the token vectors.
        intermediate_dim: Width of the hidden layer of each feed-forward network.
        dropout: Share of activations dropped in training, everywhere.
        max_sequence_length: Longest input, in tokens, that has position embeddings.
        num_segments: Number of kinds of `segment_ids`.
        dtype: Precision of computation and weights, as in `keras.layers.Layer`.
        activation: Of the feed-forward networks. KerasHub computes `"gelu_tanh"`; checkpoints of
            Hugging Face mean `"gelu"`, and loading them sets it.
        layer_norm_epsilon: Added to the variance in layer normalisation.

    Inputs: int32 `"token_ids"`, `"segment_ids"` and `"padding_mask"` (1 for a token), each
        `(batch, tokens)`.
    Outputs: `"sequence_output"` `(batch, tokens, hidden_dim)` and `"pooled_output"`
        `(batch, hidden_dim)`.

    Example:
    >>> backbone = BertBackbone(
    ...     vocabulary_size=30, num_layers=2, num_heads=2, hidden_dim=8, intermediate_dim=16
    ... )
    >>> ids = np.array([[2, 7, 9, 3]])
    >>> inputs = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1}
    >>> backbone(inputs)["pooled_output"].shape
    (1, 8)
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
        num_segments=2,
        dtype=None,
        *,
        activation="gelu_tanh",
        layer_norm_epsilon=1e-12,
        **kwargs,
    ):
        self.make_embeddings(
            vocabulary_size,
            hidden_dim,
            max_sequence_length=max_sequence_length,
            num_segments=num_segments,
            dropout=dropout,
            layer_norm_epsilon=layer_norm_epsilon,
            dtype=dtype,
        )
        self.transformer_layers = [
            TransformerEncoder(
                intermediate_dim,
                num_heads,
                dropout=dropout,
                activation=activation_name(activation),
                layer_norm_epsilon=layer_norm_epsilon,
                kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
                dtype=dtype,
                name=f"transformer_layer_{i}",
            )
            for i in range(num_layers)
        ]
        self.make_pooled_dense(hidden_dim, dtype)

        inputs = self.symbolic_inputs()
        x = self.embeddings_dropout(self.embedded(inputs))
        for layer in self.transformer_layers:
            x = layer(x, padding_mask=inputs["padding_mask"])
        super().__init__(inputs=inputs, outputs=self.outputs_of(x), dtype=dtype, **kwargs)


class BertTokenizer(WordPieceTokenizer):
    """WordPiece with BERT's special tokens.

    Args:
        vocabulary: Tokens in the order of their ids, or the path of a text file with one a line.
        lowercase: Whether to lowercase, and to strip accents with it, as uncased checkpoints do.

    Example:
    >>> tokenizer = BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "fox"])
    >>> tokenizer("the fox").tolist()
    [5, 6]
    """

    special_tokens_by_role = {
        "cls": "[CLS]",
        "sep": "[SEP]",
        "pad": "[PAD]",
        "mask": "[MASK]",
        "start": "[CLS]",
        "end": "[SEP]",
    }
    num_separators = 1

    def __init__(self, vocabulary=None, lowercase=False, **kwargs):
        super().__init__(vocabulary, lowercase=lowercase, **kwargs)


class BertTextClassifierPreprocessor(TextClassifierPreprocessor):
    """Turns strings, or pairs of strings, into inputs for `BertTextClassifier`."""

    backbone_cls = BertBackbone
    tokenizer_cls = BertTokenizer


class BertMaskedLMPreprocessor(MaskedLMPreprocessor):
    """Turns strings into inputs with masks for `BertMaskedLM`."""

    backbone_cls = BertBackbone
    tokenizer_cls = BertTokenizer


class BertMaskedLM(MaskedLM):
    """BERT with the head that predicts masked tokens; see `MaskedLM`."""

    preprocessor_cls = BertMaskedLMPreprocessor


class BertTextClassifier(PooledOutputClassifier):
    """BERT with a classifier on its pooled output; see `TextClassifier`."""

    preprocessor_cls = BertTextClassifierPreprocessor


class BertTextEmbedderPreprocessor(TextEmbedderPreprocessor):
    """Turns strings into inputs for `BertTextEmbedder`."""

    backbone_cls = BertBackbone
    tokenizer_cls = BertTokenizer


class BertTextEmbedder(TextEmbedder):
    """BERT pooled to one vector for a text; see `TextEmbedder`."""

    preprocessor_cls = BertTextEmbedderPreprocessor


class BertTokenClassifier(TokenClassifier):
    """BERT with a classifier on each token's vector; see `TokenClassifier`."""

    preprocessor_cls = BertTextClassifierPreprocessor


class BertQuestionAnswerer(QuestionAnswerer):
    """BERT that finds answers in a context; see `QuestionAnswerer`."""

    preprocessor_cls = BertTextClassifierPreprocessor


FAMILY = Family(
    name="bert",
    title="BERT",
    backbone=BertBackbone,
    tokenizer=BertTokenizer,
    tasks=(
        BertMaskedLM,
        BertTextClassifier,
        BertTextEmbedder,
        BertTokenClassifier,
        BertQuestionAnswerer,
    ),
    aliases={
        "BertClassifier": BertTextClassifier,
        "BertPreprocessor": BertTextClassifierPreprocessor,
    },
    presets=built_in_presets("bert"),
    hugging_face=HuggingFaceFormat(
        model_type="bert",
        architecture="BertModel",
        prefix="bert.",
        config={
            **ENCODER_CONFIG,
            "num_segments": "type_vocab_size",
            "layer_norm_epsilon": Converted("layer_norm_eps", default=1e-12),
        },
        fixed={"position_embedding_type": "absolute"},
        rows=(
            *SEGMENT_EMBEDDING_ROWS,
            *encoder_block_rows("transformer_layer_{i}", "encoder.layer.{i}"),
            Layer("pooled_dense", "pooler.dense", is_optional=True),
        ),
        unused=("embeddings.position_ids", "cls.seq_relationship.*", "cls.predictions.decoder.*"),
        heads={
            "MaskedLM": HuggingFaceHead(
                architecture="BertForMaskedLM",
                rows=bert_masked_lm_rows(),
                config=MASKED_LM_CONFIG,
                skips=("pooled_dense",),
            ),
            "TextClassifier": classifier_head("BertForSequenceClassification"),
            **token_heads("Bert", skips=("pooled_dense",)),
        },
        tokenizer_class="BertTokenizer",
        tokenizer_files={"vocab.txt": "vocabulary"},
        tokenizer_options=WORD_PIECE_OPTIONS,
    ),
)

register(FAMILY)
