"""RoBERTa: the BERT encoder without segments, trained longer and on more text.

Paper: Liu et al., 2019, https://arxiv.org/abs/1907.11692
Differs from BERT in: byte-level BPE instead of WordPiece, no segment embedding, no pooled output,
two separators between the segments of a pair.
"""

import keras
import numpy as np

from clozework.layers import (
    Dropout,
    TokenAndPositionEmbedding,
    TransformerEncoder,
    activation_name,
)
from clozework.models.built_in_presets import built_in_presets
from clozework.models.encoder_tables import (
    ENCODER_CONFIG,
    MASKED_LM_CONFIG,
    classifier_head,
    masked_lm_rows,
    token_heads,
)
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
from clozework.tokenizers import BytePairTokenizer

__all__ = [
    "RobertaBackbone",
    "RobertaMaskedLM",
    "RobertaMaskedLMPreprocessor",
    "RobertaQuestionAnswerer",
    "RobertaTextClassifier",
    "RobertaTextClassifierPreprocessor",
    "RobertaTextEmbedder",
    "RobertaTextEmbedderPreprocessor",
    "RobertaTokenClassifier",
    "RobertaTokenizer",
]


class RobertaBackbone(Backbone):
    """RoBERTa encoder: one vector per token.

    Args:
        vocabulary_size, num_layers, num_heads, hidden_dim, intermediate_dim, dropout,
            max_sequence_length, dtype: As in `BertBackbone`.
        activation: Of the feed-forward networks.
        layer_norm_epsilon: Added to the variance in layer normalisation.

    Inputs: int32 `"token_ids"` and `"padding_mask"` (1 for a token), each `(batch, tokens)`.
    Outputs: `(batch, tokens, hidden_dim)`.

    Example:
    >>> backbone = RobertaBackbone(
    ...     vocabulary_size=30, num_layers=2, num_heads=2, hidden_dim=8, intermediate_dim=16
    ... )
    >>> ids = np.array([[0, 7, 9, 2]])
    >>> backbone({"token_ids": ids, "padding_mask": 0 * ids + 1}).shape
    (1, 4, 8)
    """

    has_open_row_length = True

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

        inputs = self.symbolic_inputs()
        x = self.embeddings(inputs["token_ids"], padding_mask=inputs["padding_mask"])
        x = self.embeddings_layer_norm(x)
        x = self.embeddings_dropout(x)
        for layer in self.transformer_layers:
            x = layer(x, padding_mask=inputs["padding_mask"])
        super().__init__(inputs=inputs, outputs=x, dtype=dtype, **kwargs)


class RobertaTokenizer(BytePairTokenizer):
    """Byte-level BPE, as GPT-2's, with RoBERTa's special tokens.

    Args:
        vocabulary: Token -> id, or the path of a JSON file with that.
        merges: Merge rules in order, or the path of a text file with one a line.

    Example:
    >>> vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "a": 3, "b": 4, "ab": 5, "<mask>": 6}
    >>> RobertaTokenizer(vocabulary, ["a b"])("abb").tolist()
    [5, 4]
    """

    special_tokens_by_role = {"start": "<s>", "pad": "<pad>", "end": "</s>", "mask": "<mask>"}
    # Trained with the space before it: "a <mask>" is "a", "<mask>".
    tokens_taking_space_before = frozenset({"<mask>"})
    num_separators = 2

    def __init__(self, vocabulary=None, merges=None, **kwargs):
        super().__init__(vocabulary, merges, **kwargs)


class RobertaTextClassifierPreprocessor(TextClassifierPreprocessor):
    """Turns strings, or pairs of strings, into inputs for `RobertaTextClassifier`."""

    backbone_cls = RobertaBackbone
    tokenizer_cls = RobertaTokenizer


class RobertaMaskedLMPreprocessor(MaskedLMPreprocessor):
    """Turns strings into inputs with masks for `RobertaMaskedLM`."""

    backbone_cls = RobertaBackbone
    tokenizer_cls = RobertaTokenizer


class RobertaMaskedLM(MaskedLM):
    """RoBERTa with the head that predicts masked tokens; see `MaskedLM`."""

    preprocessor_cls = RobertaMaskedLMPreprocessor


class RobertaTextClassifier(TextClassifier):
    """RoBERTa with a classifier on the first token's vector; see `TextClassifier`."""

    preprocessor_cls = RobertaTextClassifierPreprocessor
    head = FirstTokenHead("tanh")


def _without_fairseq_rows(positions: np.ndarray, token_types: np.ndarray) -> np.ndarray:
    """Drops the two rows that fairseq keeps for padding; adds the only token type to the rest."""
    return positions[2:] + token_types[0]


def _with_fairseq_rows(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Puts the two rows back; the token type stays within the positions."""
    unused = np.zeros_like(positions[:1])
    return np.concatenate([unused, unused, positions]), unused


# XLM-RoBERTa is this, with other names.
HUGGING_FACE = HuggingFaceFormat(
    model_type="roberta",
    architecture="RobertaModel",
    prefix="roberta.",
    config={
        **ENCODER_CONFIG,
        "max_sequence_length": Converted(
            "max_position_embeddings", read=lambda rows: rows - 2, write=lambda length: length + 2
        ),
        "layer_norm_epsilon": Converted("layer_norm_eps", default=1e-5),
    },
    # Positions count from the padding token's id, which the two fairseq rows are for. Of several
    # token types only the first is ever used.
    fixed={
        "position_embedding_type": "absolute",
        "pad_token_id": 1,
        "type_vocab_size": (1, 2, 3, 4),
    },
    rows=(
        Layer("embeddings/token_embedding", "embeddings.word_embeddings"),
        Computed(
            "embeddings/position_embedding/embeddings",
            needs=(
                "embeddings.position_embeddings.weight",
                "embeddings.token_type_embeddings.weight",
            ),
            read_values=_without_fairseq_rows,
            write_values=_with_fairseq_rows,
        ),
        Layer("embeddings_layer_norm", "embeddings.LayerNorm"),
        *encoder_block_rows("transformer_layer_{i}", "encoder.layer.{i}"),
    ),
    unused=("embeddings.position_ids", "pooler.dense.*", "lm_head.decoder.*"),
    heads={
        "MaskedLM": HuggingFaceHead(
            architecture="RobertaForMaskedLM",
            rows=masked_lm_rows("lm_head.dense", "lm_head.layer_norm", "lm_head"),
            config={"head_layer_norm_epsilon": MASKED_LM_CONFIG["head_layer_norm_epsilon"]},
            implied={"head_activation": "gelu"},
        ),
        "TextClassifier": classifier_head(
            "RobertaForSequenceClassification",
            Layer("pooled_dense", "classifier.dense"),
            Layer("logits", "classifier.out_proj"),
        ),
        **token_heads("Roberta"),
    },
    tokenizer_class="RobertaTokenizer",
    tokenizer_files={"vocab.json": "vocabulary", "merges.txt": "merges"},
    tokenizer_options={"add_prefix_space": Converted("add_prefix_space", default=False)},
)


class RobertaTextEmbedderPreprocessor(TextEmbedderPreprocessor):
    """Turns strings into inputs for `RobertaTextEmbedder`."""

    backbone_cls = RobertaBackbone
    tokenizer_cls = RobertaTokenizer


class RobertaTextEmbedder(TextEmbedder):
    """RoBERTa pooled to one vector for a text; see `TextEmbedder`."""

    preprocessor_cls = RobertaTextEmbedderPreprocessor


class RobertaTokenClassifier(TokenClassifier):
    """RoBERTa with a classifier on each token's vector; see `TokenClassifier`."""

    preprocessor_cls = RobertaTextClassifierPreprocessor


class RobertaQuestionAnswerer(QuestionAnswerer):
    """RoBERTa that finds answers in a context; see `QuestionAnswerer`."""

    preprocessor_cls = RobertaTextClassifierPreprocessor


FAMILY = Family(
    name="roberta",
    title="RoBERTa",
    backbone=RobertaBackbone,
    tokenizer=RobertaTokenizer,
    tasks=(
        RobertaMaskedLM,
        RobertaTextClassifier,
        RobertaTextEmbedder,
        RobertaTokenClassifier,
        RobertaQuestionAnswerer,
    ),
    aliases={
        "RobertaClassifier": RobertaTextClassifier,
        "RobertaPreprocessor": RobertaTextClassifierPreprocessor,
    },
    presets=built_in_presets("roberta"),
    hugging_face=HUGGING_FACE,
)

register(FAMILY)
