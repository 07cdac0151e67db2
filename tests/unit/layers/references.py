"""The layers once more, in NumPy and float64, written as the papers write them."""

import keras
import numpy as np
import torch
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position


def weights(layer) -> dict[str, np.ndarray]:
    """Returns a layer's weights by their path below it."""
    start = len(layer.path) + 1
    return {v.path[start:]: numpy(v.value).astype("float64") for v in layer.weights}


def numpy(x) -> np.ndarray:
    return keras.ops.convert_to_numpy(x)


def randomize(layer, seed=0) -> None:
    """Gives all weights values that matter, also those that begin as zeros or ones."""
    random = np.random.default_rng(seed)
    for variable in layer.weights:
        variable.assign(random.normal(0.0, 0.6, variable.shape))


def softmax(x):
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def layer_norm(x, w, name, epsilon):
    centred = x - x.mean(axis=-1, keepdims=True)
    x = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)
    return x * w[f"{name}/gamma"] + w[f"{name}/beta"]


def dense(x, w, name):
    return x @ w[f"{name}/kernel"] + w[f"{name}/bias"]


def heads(x, w, name):
    """Projects `(batch, tokens, hidden_dim)` to `(batch, heads, tokens, head_dim)`."""
    projected = np.einsum("btd,dnh->btnh", x, w[f"{name}/kernel"]) + w[f"{name}/bias"]
    return projected.swapaxes(1, 2)


def attention(x, w, allowed, *, to=None, layer="self_attention_layer"):
    """Returns the output of multi-head attention and its weights; `to` is x by default."""
    to = x if to is None else to
    query = heads(x, w, f"{layer}/query")
    key, value = (heads(to, w, f"{layer}/{name}") for name in ("key", "value"))
    scores = query @ key.swapaxes(-1, -2) / np.sqrt(query.shape[-1])
    scores = softmax(np.where(allowed[:, None], scores, -1e9))
    name = f"{layer}/attention_output"
    joined = np.einsum("bnth,nhd->btd", scores @ value, w[f"{name}/kernel"])
    return joined + w[f"{name}/bias"], scores


def block(x, w, sublayers, *, activation, epsilon, normalize_first):
    """A block: sub-layers by the name of their normalisation, then the feed-forward network."""

    def feed_forward(x):
        x = activation(dense(x, w, "feedforward_intermediate_dense"))
        return dense(x, w, "feedforward_output_dense")

    for name, sublayer in {**sublayers, "feedforward_layer_norm": feed_forward}.items():
        if normalize_first:
            x = x + sublayer(layer_norm(x, w, name, epsilon))
        else:
            x = layer_norm(x + sublayer(x), w, name, epsilon)
    return x


def encoder(x, w, attend, **options):
    """An encoder block around any kind of attention."""
    return block(x, w, {"self_attention_layer_norm": attend}, **options)


def bucket_rows(tokens, bucket_size, max_position):
    """Returns the row of the relative embeddings for each pair of a query and a key, gathered."""
    distances = torch.arange(tokens)[:, None] - torch.arange(tokens)[None, :]
    buckets = make_log_bucket_position(distances, bucket_size, max_position).long().numpy()
    return np.clip(buckets + bucket_size, 0, 2 * bucket_size - 1)


def disentangled_attention(x, relative, w, allowed, *, bucket_size, max_position, prefix=""):
    """Content to content, content to position and position to content, one pair at a time."""
    query, key, value = (heads(x, w, f"{prefix}{name}") for name in ("query", "key", "value"))
    place_query = heads(relative[None], w, f"{prefix}query")[0]
    place_key = heads(relative[None], w, f"{prefix}key")[0]
    tokens = x.shape[1]
    rows = bucket_rows(tokens, bucket_size, max_position)
    scores = np.zeros((*query.shape[:2], tokens, tokens))
    for i in range(tokens):
        for j in range(tokens):
            scores[:, :, i, j] = (
                np.einsum("bnh,bnh->bn", query[:, :, i], key[:, :, j])
                + np.einsum("bnh,nh->bn", query[:, :, i], place_key[:, rows[i, j]])
                + np.einsum("bnh,nh->bn", key[:, :, j], place_query[:, rows[i, j]])
            )
    scores = scores / np.sqrt(3 * query.shape[-1])
    mixed = softmax(np.where(allowed[:, None], scores, -1e9)) @ value
    joined = mixed.swapaxes(1, 2).reshape(x.shape)
    return dense(joined, w, f"{prefix}attention_output")
