"""Building blocks of the models: public layers with KerasHub's names and arguments.

Axes have the same names everywhere:

    batch       rows of the batch
    tokens      places of a row
    heads       attention heads
    head_dim    width of one head
    hidden_dim  width of the token vectors; heads * head_dim in the encoders here
    vocabulary  tokens of the vocabulary

`padding_mask`, int32 `(batch, tokens)`, is 0 for padding and 1 for a token. Values 2, 3, ... number
further texts that are packed into the same row: attention joins tokens of equal value, and
positions restart at the first token of each packed text.
"""

from clozework.layers.activations import activation_function, activation_name
from clozework.layers.cached_attention import CachedMultiHeadAttention
from clozework.layers.dense import Dense, EinsumDense, turned_kernels
from clozework.layers.disentangled_attention import (
    DisentangledAttentionEncoder,
    DisentangledSelfAttention,
    RelativeEmbedding,
)
from clozework.layers.dropout import Dropout
from clozework.layers.embeddings import (
    PositionEmbedding,
    ReversibleEmbedding,
    SinePositionEncoding,
    TokenAndPositionEmbedding,
)
from clozework.layers.f_net_encoder import FNetEncoder
from clozework.layers.gemma_decoder_block import GemmaDecoderBlock, RMSNormalization
from clozework.layers.key_value_cache import KeyValueCache
from clozework.layers.logits_bias import LogitsBias
from clozework.layers.masked_lm_head import MaskedLMHead
from clozework.layers.masking import MaskedLMMaskGenerator, check_mask_rates
from clozework.layers.packing import MultiSegmentPacker, StartEndPacker
from clozework.layers.query_tokens import query_tokens
from clozework.layers.relative_position_bias import (
    BiasedSelfAttention,
    BiasedTransformerEncoder,
    RelativePositionBias,
)
from clozework.layers.rotary_embedding import RotaryEmbedding
from clozework.layers.rotary_encoder_block import RotaryEncoderBlock, RotarySelfAttention
from clozework.layers.text_masks import positions_within_texts, self_attention_mask
from clozework.layers.text_pooling import POOLING_MODES, TextPooling
from clozework.layers.transformer_block import TransformerBlock
from clozework.layers.transformer_decoder import TransformerDecoder
from clozework.layers.transformer_encoder import TransformerEncoder

__all__ = [
    "POOLING_MODES",
    "BiasedSelfAttention",
    "BiasedTransformerEncoder",
    "CachedMultiHeadAttention",
    "Dense",
    "DisentangledAttentionEncoder",
    "DisentangledSelfAttention",
    "Dropout",
    "EinsumDense",
    "FNetEncoder",
    "GemmaDecoderBlock",
    "KeyValueCache",
    "LogitsBias",
    "MaskedLMHead",
    "MaskedLMMaskGenerator",
    "MultiSegmentPacker",
    "PositionEmbedding",
    "RMSNormalization",
    "RelativeEmbedding",
    "RelativePositionBias",
    "ReversibleEmbedding",
    "RotaryEmbedding",
    "RotaryEncoderBlock",
    "RotarySelfAttention",
    "SinePositionEncoding",
    "StartEndPacker",
    "TextPooling",
    "TokenAndPositionEmbedding",
    "TransformerBlock",
    "TransformerDecoder",
    "TransformerEncoder",
    "activation_function",
    "activation_name",
    "check_mask_rates",
    "positions_within_texts",
    "query_tokens",
    "self_attention_mask",
    "turned_kernels",
]
