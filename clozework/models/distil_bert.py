"""DistilBERT: half of BERT's blocks, taught by BERT.

Paper: Sanh et al., 2019, https://arxiv.org/abs/1910.01108
Differs from BERT in: no segments and no pooled output; a classifier of two layers.
"""

import keras

from clozework.layers import (
    Dropout,
    TokenAndPositionEmbedding,
    TransformerEncoder,
    activation_name,
)
from clozework.models.bert import BertTokenizer
from clozework.models.built_in_presets import built_in_presets
from clozework.models.encoder_tables import (
    ACTIVATION,
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
    with_defaults,
)
from clozework.tokenizers import WordPieceTokenizer

__all__ = [
    "DistilBertBackbone",
    "DistilBertMaskedLM",
    "DistilBertMaskedLMPreprocessor",
    "DistilBertQuestionAnswerer",
    "DistilBertTextClassifier",
    "DistilBertTextClassifierPreprocessor",
    "DistilBertTextEmbedder",
    "DistilBertTextEmbedderPreprocessor",
    "DistilBertTokenClassifier",
    "DistilBertTokenizer",
]


class DistilBertBackbone(Backbone):
    """DistilBERT encoder: one vector per token.

    Args:
        vocabulary_size, num_layers, num_heads, hidden_dim, intermediate_dim, dropout,
            max_sequence_length, dtype: As in `BertBackbone`.
        activation: Of the feed-forward networks.

    Inputs: int32 `"token_ids"` and `"padding_mask"` (1 for a token), each `(batch, tokens)`.
    Outputs: `(batch, tokens, hidden_dim)`.

    Example:
    >>> backbone = DistilBertBackbone(
    ...     vocabulary_size=30, num_layers=2, num_heads=2, hidden_dim=8, intermediate_dim=16
    ... )
    >>> ids = np.array([[2, 7, 9, 3]])
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
        **kwargs,
    ):
        initializer = keras.initializers.TruncatedNormal(stddev=0.02)
        self.embeddings = TokenAndPositionEmbedding(
            vocabulary_size,
            max_sequence_length,
            hidden_dim,
            embeddings_initializer=initializer.clone(),
            dtype=dtype,
            name="token_and_position_embedding",
        )
        self.token_embedding = self.embeddings.token_embedding
        self.embeddings_layer_norm = keras.layers.LayerNormalization(
            epsilon=1e-12, dtype=dtype, name="embeddings_layer_norm"
        )
        self.embeddings_dropout = Dropout(dropout, dtype=dtype, name="embeddings_dropout")
        self.transformer_layers = [
            TransformerEncoder(
                intermediate_dim,
                num_heads,
                dropout=dropout,
                activation=activation_name(activation),
                layer_norm_epsilon=1e-12,
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


class DistilBertTokenizer(WordPieceTokenizer):
    """WordPiece with BERT's special tokens; see `BertTokenizer`."""

    special_tokens_by_role = BertTokenizer.special_tokens_by_role
    num_separators = 1

    def __init__(self, vocabulary=None, lowercase=False, **kwargs):
        super().__init__(vocabulary, lowercase=lowercase, **kwargs)


class DistilBertTextClassifierPreprocessor(TextClassifierPreprocessor):
    """Turns strings, or pairs of strings, into inputs for `DistilBertTextClassifier`."""

    backbone_cls = DistilBertBackbone
    tokenizer_cls = DistilBertTokenizer


class DistilBertMaskedLMPreprocessor(MaskedLMPreprocessor):
    """Turns strings into inputs with masks for `DistilBertMaskedLM`."""

    backbone_cls = DistilBertBackbone
    tokenizer_cls = DistilBertTokenizer


class DistilBertMaskedLM(MaskedLM):
    """DistilBERT with the head that predicts masked tokens; see `MaskedLM`."""

    preprocessor_cls = DistilBertMaskedLMPreprocessor


class DistilBertTextClassifier(TextClassifier):
    """DistilBERT with a classifier on the first token's vector; see `TextClassifier`."""

    preprocessor_cls = DistilBertTextClassifierPreprocessor
    head = FirstTokenHead("relu", has_input_dropout=False)

    __init__ = with_defaults(TextClassifier.__init__, dropout=0.2)


_HEAD_ACTIVATION = Converted("activation", read=ACTIVATION.read, write=lambda name: None)


class DistilBertTextEmbedderPreprocessor(TextEmbedderPreprocessor):
    """Turns strings into inputs for `DistilBertTextEmbedder`."""

    backbone_cls = DistilBertBackbone
    tokenizer_cls = DistilBertTokenizer


class DistilBertTextEmbedder(TextEmbedder):
    """DistilBERT pooled to one vector for a text; see `TextEmbedder`."""

    preprocessor_cls = DistilBertTextEmbedderPreprocessor


class DistilBertTokenClassifier(TokenClassifier):
    """DistilBERT with a classifier on each token's vector; see `TokenClassifier`."""

    preprocessor_cls = DistilBertTextClassifierPreprocessor


class DistilBertQuestionAnswerer(QuestionAnswerer):
    """DistilBERT that finds answers in a context; see `QuestionAnswerer`."""

    preprocessor_cls = DistilBertTextClassifierPreprocessor


FAMILY = Family(
    name="distil_bert",
    title="DistilBERT",
    backbone=DistilBertBackbone,
    tokenizer=DistilBertTokenizer,
    tasks=(
        DistilBertMaskedLM,
        DistilBertTextClassifier,
        DistilBertTextEmbedder,
        DistilBertTokenClassifier,
        DistilBertQuestionAnswerer,
    ),
    aliases={
        "DistilBertClassifier": DistilBertTextClassifier,
        "DistilBertPreprocessor": DistilBertTextClassifierPreprocessor,
    },
    presets=built_in_presets("distil_bert"),
    hugging_face=HuggingFaceFormat(
        model_type="distilbert",
        architecture="DistilBertModel",
        prefix="distilbert.",
        config={
            "vocabulary_size": "vocab_size",
            "num_layers": "n_layers",
            "num_heads": "n_heads",
            "hidden_dim": "dim",
            "intermediate_dim": "hidden_dim",
            "dropout": Converted("dropout", default=0.1),
            "max_sequence_length": "max_position_embeddings",
            "activation": Converted("activation", ACTIVATION.read, ACTIVATION.write, "gelu"),
        },
        # Sinusoidal positions are stored like learned ones.
        harmless=frozenset({"attention_dropout", "qa_dropout", "sinusoidal_pos_embds"}),
        rows=(
            Layer("token_and_position_embedding/token_embedding", "embeddings.word_embeddings"),
            Layer(
                "token_and_position_embedding/position_embedding", "embeddings.position_embeddings"
            ),
            Layer("embeddings_layer_norm", "embeddings.LayerNorm"),
            *encoder_block_rows(
                "transformer_layer_{i}",
                "transformer.layer.{i}",
                query="attention.q_lin",
                key="attention.k_lin",
                value="attention.v_lin",
                attention_output="attention.out_lin",
                self_attention_layer_norm="sa_layer_norm",
                feedforward_intermediate_dense="ffn.lin1",
                feedforward_output_dense="ffn.lin2",
                feedforward_layer_norm="output_layer_norm",
            ),
        ),
        unused=("embeddings.position_ids", "vocab_projector.weight"),
        heads={
            "MaskedLM": HuggingFaceHead(
                architecture="DistilBertForMaskedLM",
                rows=masked_lm_rows(
                    dense="vocab_transform", norm="vocab_layer_norm", bias="vocab_projector"
                ),
                config={
                    "head_activation": _HEAD_ACTIVATION,
                    "head_layer_norm_epsilon": Converted(
                        "layer_norm_eps", write=lambda epsilon: None, default=1e-12
                    ),
                },
            ),
            "TextClassifier": classifier_head(
                "DistilBertForSequenceClassification",
                Layer("pooled_dense", "pre_classifier"),
                dropout=Converted("seq_classif_dropout", default=0.2),
            ),
            **token_heads("DistilBert"),
        },
        tokenizer_class="DistilBertTokenizer",
        tokenizer_files={"vocab.txt": "vocabulary"},
        tokenizer_options=WORD_PIECE_OPTIONS,
    ),
)

register(FAMILY)
