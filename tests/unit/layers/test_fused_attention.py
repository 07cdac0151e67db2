"""Tests of attention in one kernel, where the backend has one."""

import keras
import numpy as np
import pytest
from keras import ops

from clozework.kernels import fused_attention
from clozework.layers.disentangled_attention import DisentangledSelfAttention
from clozework.layers.dot_product_attention import HeadsFirstAttention
from clozework.layers.relative_position_bias import BiasedSelfAttention
from clozework.layers.rotary_encoder_block import RotarySelfAttention
from clozework.layers.text_masks import self_attention_mask

# Two texts and padding; and a row of padding alone.
PADDING_MASK = np.array([[1, 1, 2, 2, 2, 0], [0] * 6])


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.fixture
def steps(monkeypatch):
    """Returns a function that takes the kernels away."""

    def without_kernels():
        for module in ("dot_product_attention", "self_attention"):
            monkeypatch.setattr(f"clozework.layers.{module}.fused_attention", lambda *_, **__: None)

    return without_kernels


def numbers(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def attention_in_float64(query, key, value, allowed, bias=0.0):
    scores = np.where(allowed[:, None], query @ key.swapaxes(-1, -2) + bias, -1e9)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True) @ value


def a_layer_of_each_kind():
    plain = HeadsFirstAttention(num_heads=2, key_dim=8)
    rotary = RotarySelfAttention(num_heads=2, hidden_dim=16, window=4)
    biased = BiasedSelfAttention(num_heads=2, hidden_dim=16)
    disentangled = DisentangledSelfAttention(2, 16, max_position_embeddings=8, bucket_size=4)
    bias = np.random.default_rng(1).normal(size=(2, 6, 6)).astype("float32")
    embeddings = np.random.default_rng(1).normal(size=(8, 16)).astype("float32")
    mask = self_attention_mask(PADDING_MASK)
    return {
        "plain": (plain, lambda x: plain(x, x, attention_mask=mask)),
        "rotary": (rotary, lambda x: rotary(x, padding_mask=PADDING_MASK)),
        "biased": (biased, lambda x: biased(x, position_bias=bias, attention_mask=mask)),
        "disentangled": (
            disentangled,
            lambda x: disentangled(x, rel_embeddings=embeddings, attention_mask=mask),
        ),
    }


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch's kernel")
def test_the_kernel_of_pytorch_gives_the_numbers_of_the_formula(random):
    query, key, value = random.normal(size=(3, 2, 4, 6, 8)).astype("float32")
    bias = random.normal(size=(1, 4, 6, 6)).astype("float32")
    allowed = ops.convert_to_numpy(self_attention_mask(PADDING_MASK))

    x = fused_attention(
        *map(ops.convert_to_tensor, (query, key, value)),
        bias=ops.convert_to_tensor(bias),
        mask=ops.convert_to_tensor(allowed),
    )

    wanted = attention_in_float64(query, key, value, allowed, bias)
    np.testing.assert_allclose(numbers(x), wanted, rtol=0, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX's kernel")
def test_the_kernel_of_jax_gives_the_numbers_of_the_formula_or_there_is_none(random):
    import jax

    query, key, value = random.normal(size=(3, 2, 4, 64, 64)).astype("float32")
    query /= 8
    padding_mask = np.repeat([[1, 2, 0, 0]], 16, axis=1) * np.array([[1], [0]])
    allowed = ops.convert_to_numpy(self_attention_mask(padding_mask))
    halves = [ops.cast(x, "bfloat16") for x in (query, key, value)]

    x = fused_attention(*halves, mask=ops.convert_to_tensor(allowed))

    if jax.default_backend() != "gpu":
        assert x is None
        return
    wanted = attention_in_float64(query, key, value, allowed)
    np.testing.assert_allclose(numbers(x), wanted, rtol=0, atol=2e-2)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="PyTorch has one for all of these")
def test_jax_has_no_kernel_for_what_it_would_compute_wrongly_or_not_at_all(random):
    query, key, value = (ops.cast(x, "bfloat16") for x in random.normal(size=(3, 1, 2, 8, 8)))

    assert fused_attention(query, key, value, bias=ops.zeros((1, 2, 8, 8))) is None
    assert fused_attention(query, key, value, dropout=0.1) is None
    assert fused_attention(*(ops.cast(x, "float32") for x in (query, key, value))) is None


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX's kernel")
@pytest.mark.parametrize(("queries", "tokens"), [(5, 8), (6, 9)])
def test_jax_has_no_kernel_for_odd_lengths(random, monkeypatch, queries, tokens):
    # As on a GPU, whose kernel cannot be computed backwards then.
    monkeypatch.setattr("clozework.kernels._is_jax_on", lambda platform: True)
    query, key = (random.normal(size=(1, 2, length, 8)) for length in (queries, tokens))
    query, key = (ops.cast(x, "bfloat16") for x in (query, key))

    assert fused_attention(query, key, key) is None
    assert fused_attention(query[:, :, :4], key[:, :, :8], key[:, :, :8]) is not None


@pytest.mark.parametrize("kind", ["plain", "rotary", "biased", "disentangled"])
@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch's kernel")
def test_a_layer_has_the_outputs_and_gradients_that_it_has_step_by_step(kind, random, steps):
    import torch

    # Weights of other tests' random numbers would make other, at times larger, gradients.
    keras.utils.set_random_seed(0)
    layer, attend = a_layer_of_each_kind()[kind]
    x = random.normal(size=(2, 6, 16)).astype("float32")
    attend(x)

    def outputs_and_gradients():
        given = torch.tensor(x, requires_grad=True, device=layer.variables[0].value.device)
        outputs = attend(given)
        weights = [variable.value for variable in layer.trainable_variables]
        return outputs, *torch.autograd.grad((outputs**2).sum(), [given, *weights])

    fused = outputs_and_gradients()
    steps()

    for one, other in zip(fused, outputs_and_gradients(), strict=True):
        np.testing.assert_allclose(numbers(one.detach()), numbers(other.detach()), atol=1e-5)


def test_scores_are_returned_where_they_are_asked_for(random):
    x = random.normal(size=(2, 6, 16)).astype("float32")
    mask = self_attention_mask(PADDING_MASK)
    attention = HeadsFirstAttention(num_heads=2, key_dim=8)

    alone = attention(x, x, attention_mask=mask)
    outputs, scores = attention(x, x, attention_mask=mask, return_attention_scores=True)

    np.testing.assert_allclose(numbers(outputs), numbers(alone), rtol=0, atol=1e-5)
    np.testing.assert_allclose(numbers(scores).sum(axis=-1), 1, rtol=0, atol=1e-5)
