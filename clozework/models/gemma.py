"""Gemma: a decoder with few keys, gated feed-forward networks and rotary positions; Gemma 2 too.

Papers: Gemma Team, 2024, https://arxiv.org/abs/2403.08295, and Gemma 2,
https://arxiv.org/abs/2408.00118
Differs from the encoders in: causal attention, rotations in place of position vectors, RMS
normalisation before each block, several query heads for each key. Gemma 2 normalises behind each
block, too, bounds scores and logits, and lets every other block see only near tokens.
"""

import keras
from keras import ops

from clozework.errors import ConfigError, InputError
from clozework.layers import GemmaDecoderBlock, KeyValueCache, ReversibleEmbedding, RMSNormalization
from clozework.models.built_in_presets import built_in_presets
from clozework.models.gemma_tables import GEMMA, GEMMA_2
from clozework.presets import Family, register
from clozework.tasks import Backbone, CausalLM, CausalLMPreprocessor, DefaultSampler
from clozework.tokenizers import SentencePieceTokenizer

__all__ = ["GemmaBackbone", "GemmaCausalLM", "GemmaCausalLMPreprocessor", "GemmaTokenizer"]


class GemmaBackbone(Backbone):
    """Gemma decoder: one vector per token, of the tokens up to it.

    Args:
        vocabulary_size, num_layers, hidden_dim, dropout, dtype: As in `BertBackbone`.
        num_query_heads, num_key_value_heads, head_dim, query_head_dim_normalize,
            use_post_ffw_norm, use_post_attention_norm, use_sliding_window_attention,
            sliding_window_size, layer_norm_epsilon: As in `GemmaDecoderBlock`; only every other
            block has the window, the first included.
        intermediate_dim: Twice the width of the hidden layer of feed-forward networks.
        attention_logit_soft_cap, final_logit_soft_cap: Bounds of the scores of attention, and of
            the logits over the vocabulary.

    Inputs: int32 `"token_ids"` and `"padding_mask"` (1 for a token), each `(batch, tokens)`.
    Outputs: `(batch, tokens, hidden_dim)`.

    Example:
    >>> backbone = GemmaBackbone(
    ...     vocabulary_size=30, num_layers=2, num_query_heads=2, num_key_value_heads=1,
    ...     hidden_dim=8, intermediate_dim=16, head_dim=4,
    ... )
    >>> ids = np.array([[2, 7, 9, 1]])
    >>> backbone({"token_ids": ids, "padding_mask": 0 * ids + 1}).shape
    (1, 4, 8)
    """

    def __init__(
        self,
        vocabulary_size,
        num_layers,
        num_query_heads,
        num_key_value_heads,
        hidden_dim,
        intermediate_dim,
        head_dim,
        query_head_dim_normalize=True,
        use_post_ffw_norm=False,
        use_post_attention_norm=False,
        attention_logit_soft_cap=None,
        final_logit_soft_cap=None,
        use_sliding_window_attention=False,
        sliding_window_size=4096,
        layer_norm_epsilon=1e-6,
        dropout=0,
        dtype=None,
        **kwargs,
    ):
        _check_widths(num_query_heads, num_key_value_heads, head_dim, intermediate_dim)
        self.token_embedding = ReversibleEmbedding(
            vocabulary_size,
            hidden_dim,
            embeddings_initializer=keras.initializers.VarianceScaling(
                1.0, mode="fan_in", distribution="untruncated_normal"
            ),
            logit_soft_cap=final_logit_soft_cap,
            dtype=dtype,
            name="token_embedding",
        )
        self.transformer_layers = [
            GemmaDecoderBlock(
                hidden_dim,
                intermediate_dim,
                head_dim,
                num_query_heads,
                num_key_value_heads,
                query_head_dim_normalize=query_head_dim_normalize,
                use_post_ffw_norm=use_post_ffw_norm,
                use_post_attention_norm=use_post_attention_norm,
                logit_soft_cap=attention_logit_soft_cap,
                use_sliding_window_attention=use_sliding_window_attention and i % 2 == 0,
                sliding_window_size=sliding_window_size,
                layer_norm_epsilon=layer_norm_epsilon,
                dropout=dropout,
                dtype=dtype,
                name=f"decoder_block_{i}",
            )
            for i in range(num_layers)
        ]
        self.layer_norm = RMSNormalization(
            layer_norm_epsilon, dtype=dtype, name="final_normalization"
        )
        inputs = self.symbolic_inputs()
        super().__init__(inputs=inputs, outputs=self._flow(inputs), dtype=dtype, **kwargs)

    def _flow(self, inputs):
        x = self.scaled(self.token_embedding(inputs["token_ids"]))
        for layer in self.transformer_layers:
            x = layer(x, padding_mask=inputs["padding_mask"])
        return self.layer_norm(x)

    @staticmethod
    def scaled(x):
        """Returns vectors of tokens, `(batch, tokens, hidden_dim)`, as the blocks take them."""
        # The factor in the precision of the vectors, as upstream.
        return x * ops.cast(x.shape[-1] ** 0.5, x.dtype)

    @staticmethod
    def get_layout_map(
        device_mesh, model_parallel_dim_name="model", data_parallel_dim_name="batch"
    ):
        """Returns how the weights are shared out over devices, for `keras.distribution`.

        Args:
            device_mesh: A `keras.distribution.DeviceMesh`.
            model_parallel_dim_name, data_parallel_dim_name: Names of its axes.

        Raises:
            ConfigError: If the mesh has no such axes.
        """
        model, data = model_parallel_dim_name, data_parallel_dim_name
        if not isinstance(device_mesh, keras.distribution.DeviceMesh):
            raise ConfigError(f"Expected a DeviceMesh, not a {type(device_mesh).__name__}.")
        if not {model, data} <= set(device_mesh.axis_names):
            raise ConfigError(
                f"The mesh has the axes {', '.join(map(repr, device_mesh.axis_names))}, but "
                f"{model!r} and {data!r} are needed."
            )
        layout = keras.distribution.LayoutMap(device_mesh)
        layout["token_embedding/embeddings"] = (model, data)
        layout["decoder_block.*attention.*(query|key|value).kernel"] = (model, data, None)
        layout["decoder_block.*attention_output.kernel"] = (model, None, data)
        layout["decoder_block.*ffw_gating.kernel"] = (data, model)
        layout["decoder_block.*ffw_gating_2.kernel"] = (data, model)
        layout["decoder_block.*ffw_linear.kernel"] = (model, data)
        return layout


class GemmaTokenizer(SentencePieceTokenizer):
    """SentencePiece with Gemma's special tokens, and bytes for unknown characters.

    Args:
        proto: A SentencePiece model: its path, its bytes, or these in base64.
    """

    special_tokens_by_role = {"start": "<bos>", "end": "<eos>", "pad": "<pad>"}

    def __init__(self, proto=None, **kwargs):
        super().__init__(proto, **kwargs)


class GemmaCausalLMPreprocessor(CausalLMPreprocessor):
    """Turns strings into inputs, labels and prompts for `GemmaCausalLM`."""

    backbone_cls = GemmaBackbone
    tokenizer_cls = GemmaTokenizer


_DEFAULT_SAMPLER = DefaultSampler("greedy")


class GemmaCausalLM(CausalLM):
    """Gemma that goes on with texts; see `CausalLM`. The sampler is `"greedy"` by default."""

    preprocessor_cls = GemmaCausalLMPreprocessor

    def compile(
        self,
        optimizer="auto",
        loss="auto",
        *,
        weighted_metrics="auto",
        sampler=_DEFAULT_SAMPLER,
        **kwargs,
    ):
        super().compile(
            optimizer, loss, weighted_metrics=weighted_metrics, sampler=sampler, **kwargs
        )

    def empty_cache(self, batch, length):
        """Returns a `KeyValueCache` of zeros for each layer."""
        backbone = self.backbone
        shape = (batch, backbone.num_key_value_heads, length, backbone.head_dim)
        layers = range(backbone.num_layers)
        return tuple(KeyValueCache.empty(*shape, self.compute_dtype) for _ in layers)

    def vectors_with_cache(self, token_ids, cache, cache_update_index, places=None):
        # KerasHub's form is one array, `(batch, layers, 2, length, key_value_heads, head_dim)`.
        is_array = not isinstance(cache, tuple)
        of_tokens = {} if places is None else places._asdict()
        x = self.backbone.scaled(self.backbone.token_embedding(token_ids))
        caches = []
        of_layers = ops.unstack(cache, axis=1) if is_array else cache
        for layer, known in zip(self.backbone.transformer_layers, of_layers, strict=True):
            x, known = layer(
                x, cache=known, cache_update_index=cache_update_index, training=False, **of_tokens
            )
            caches.append(known)
        return self.backbone.layer_norm(x), ops.stack(caches, axis=1) if is_array else tuple(caches)

    def score(
        self,
        token_ids,
        padding_mask=None,
        scoring_mode="logits",
        layer_intercept_fn=None,
        target_ids=None,
    ):
        """Returns logits `(batch, tokens, vocabulary)`, or the loss of each token.

        Args:
            token_ids, padding_mask: As in the model's inputs; all are tokens by default.
            scoring_mode: `"logits"`, or `"loss"` for `(batch, tokens)`.
            layer_intercept_fn: Called as `f(x, i)` with the vectors behind block `i`, and with
                those of the tokens as -1; what it returns goes on.
            target_ids: `(batch, tokens)`, what loss compares with.

        Raises:
            InputError: If the mode is neither, or loss has no targets.
        """
        if scoring_mode not in ("logits", "loss"):
            raise InputError(f"`scoring_mode` is 'logits' or 'loss', not {scoring_mode!r}.")
        if scoring_mode == "loss" and target_ids is None:
            raise InputError("`scoring_mode='loss'` needs `target_ids`, `(batch, tokens)`.")
        intercept = layer_intercept_fn or (lambda x, i: x)
        mask = ops.ones_like(token_ids) if padding_mask is None else padding_mask
        self.check_inputs({"token_ids": token_ids, "padding_mask": mask})
        x = self.backbone.token_embedding(ops.convert_to_tensor(token_ids))
        x = self.backbone.scaled(intercept(x, -1))
        for i, layer in enumerate(self.backbone.transformer_layers):
            x = intercept(layer(x, padding_mask=mask, training=False), i)
        logits = self.backbone.token_embedding(self.backbone.layer_norm(x), reverse=True)
        if scoring_mode == "logits":
            return logits
        return keras.losses.sparse_categorical_crossentropy(target_ids, logits, from_logits=True)


def _check_widths(num_query_heads, num_key_value_heads, head_dim, intermediate_dim) -> None:
    """Raises `ConfigError` for numbers that do not go together; whole ones come here."""
    if num_query_heads % num_key_value_heads or head_dim % 2 or intermediate_dim % 2:
        raise ConfigError(
            f"`num_query_heads` must be a multiple of `num_key_value_heads`, `head_dim` and "
            f"`intermediate_dim` must be even. Received: {num_query_heads} and "
            f"{num_key_value_heads}, {head_dim}, {intermediate_dim}."
        )


FAMILY = Family(
    name="gemma",
    title="Gemma",
    backbone=GemmaBackbone,
    tokenizer=GemmaTokenizer,
    tasks=(GemmaCausalLM,),
    presets=built_in_presets("gemma"),
    hugging_face=GEMMA,
    other_hugging_face=(GEMMA_2,),
)

register(FAMILY)
