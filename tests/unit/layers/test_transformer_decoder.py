"""The decoder block and its attention against the formulas, and with caches against without."""

import keras
import numpy as np
import pytest

from clozework.errors import InputError
from clozework.layers import CachedMultiHeadAttention, KeyValueCache, TransformerDecoder
from tests.unit.layers.references import attention, block, numpy, randomize, weights

random = np.random.default_rng(1)
X = random.normal(size=(2, 5, 8)).astype("float32")
ENCODED = random.normal(size=(2, 4, 8)).astype("float32")
PADDING = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
ENCODER_PADDING = np.array([[1, 1, 0, 0], [1, 1, 1, 1]])
CAUSAL = np.broadcast_to(np.tril(np.ones((5, 5), bool)), (2, 5, 5))
TO_ENCODER = np.broadcast_to(ENCODER_PADDING[:, None, :] > 0, (2, 5, 4))
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture
def make():
    def make(has_encoder=True, **options):
        layer = TransformerDecoder(16, 2, **options)
        layer.build((None, None, 8), (None, None, 8) if has_encoder else None)
        randomize(layer)
        return layer

    return make


@pytest.fixture
def cached_attention():
    layer = CachedMultiHeadAttention(num_heads=2, key_dim=4)
    layer.build((None, None, 8), (None, None, 8))
    randomize(layer)
    return layer


def expected(layer, allowed, to_encoder=None):
    w = weights(layer)
    sublayers = {"self_attention_layer_norm": lambda x: attention(x, w, allowed)[0]}
    if to_encoder is not None:
        sublayers["cross_attention_layer_norm"] = lambda x: attention(
            x, w, to_encoder, to=ENCODED, layer="cross_attention_layer"
        )[0]
    return block(
        X,
        w,
        sublayers,
        activation=lambda x: np.maximum(x, 0.0),
        epsilon=layer.layer_norm_epsilon,
        normalize_first=layer.normalize_first,
    )


def empty_cache(tokens):
    return np.zeros((2, 2, tokens, 2, 4), "float32")


@pytest.mark.parametrize("normalize_first", [False, True])
def test_the_block_computes_the_formula(make, normalize_first):
    layer = make(normalize_first=normalize_first, layer_norm_epsilon=1e-3)
    outputs = layer(X, ENCODED, encoder_padding_mask=ENCODER_PADDING)
    np.testing.assert_allclose(numpy(outputs), expected(layer, CAUSAL, TO_ENCODER), **TOLERANCE)


def test_without_an_encoder_it_is_a_decoder_alone(make):
    layer = make(has_encoder=False)
    np.testing.assert_allclose(numpy(layer(X)), expected(layer, CAUSAL), **TOLERANCE)
    everything = np.ones((2, 5, 5), bool)
    outputs = layer(X, use_causal_mask=False)
    np.testing.assert_allclose(numpy(outputs), expected(layer, everything), **TOLERANCE)


def test_masks_limit_further(make):
    layer = make()
    own, others = random.random((2, 5, 5)) < 0.7, random.random((2, 5, 4)) < 0.7
    own[:, :, 0] = others[:, :, 0] = True
    outputs = layer(
        X,
        ENCODED,
        decoder_padding_mask=PADDING,
        decoder_attention_mask=own,
        encoder_padding_mask=ENCODER_PADDING,
        encoder_attention_mask=others.astype("float32"),
    )
    allowed = CAUSAL & own & (PADDING[:, None, :] > 0)
    np.testing.assert_allclose(
        numpy(outputs), expected(layer, allowed, TO_ENCODER & others), **TOLERANCE
    )


def test_texts_of_one_row_do_not_see_each_other(make):
    layer = make()
    packed, encoder_packed = np.array([[1, 1, 2, 2, 2]]), np.array([[1, 2, 2, 2]])
    outputs = layer(
        X[:1], ENCODED[:1], decoder_padding_mask=packed, encoder_padding_mask=encoder_packed
    )
    for part, encoded in ((slice(0, 2), slice(0, 1)), (slice(2, 5), slice(1, 4))):
        alone = layer(X[:1, part], ENCODED[:1, encoded])
        np.testing.assert_allclose(numpy(outputs)[:, part], numpy(alone), **TOLERANCE)


def test_masks_of_keras_count_where_no_other_is_given():
    tokens = keras.layers.Embedding(9, 8, mask_zero=True)
    layer = TransformerDecoder(16, 2)
    ids, encoder_ids = np.array([[3, 4, 0, 5]]), np.array([[6, 7, 0]])
    outputs = layer(tokens(ids), tokens(encoder_ids))
    given = layer(
        numpy(tokens(ids)),
        numpy(tokens(encoder_ids)),
        decoder_padding_mask=ids > 0,
        encoder_padding_mask=encoder_ids > 0,
    )
    np.testing.assert_allclose(numpy(outputs), numpy(given), **TOLERANCE)
    without = layer(numpy(tokens(ids)), numpy(tokens(encoder_ids)))
    assert np.abs(numpy(outputs) - numpy(without)).max() > 1e-3


@pytest.mark.parametrize("normalize_first", [False, True])
def test_one_token_after_another_gives_what_all_at_once_give(make, normalize_first):
    layer = make(normalize_first=normalize_first)
    whole = numpy(layer(X, ENCODED, encoder_padding_mask=ENCODER_PADDING))
    own, others = empty_cache(7), empty_cache(4)
    _, _, others = layer(
        X[:, :1],
        ENCODED,
        self_attention_cache=own,
        self_attention_cache_update_index=0,
        cross_attention_cache=others,
        cross_attention_cache_update_index=0,
    )
    # The first two at once, then each alone; the encoder's keys and values stay as they are.
    for start, end in ((0, 2), (2, 3), (3, 4), (4, 5)):
        outputs, own, others = layer(
            X[:, start:end],
            ENCODED,
            encoder_padding_mask=ENCODER_PADDING,
            self_attention_cache=own,
            self_attention_cache_update_index=start,
            cross_attention_cache=others,
        )
        np.testing.assert_allclose(numpy(outputs), whole[:, start:end], **TOLERANCE)


def test_a_padding_mask_of_the_cache_leaves_tokens_out(make):
    layer = make(has_encoder=False)
    whole = numpy(layer(X, decoder_padding_mask=np.array([[0, 0, 1, 1, 1]] * 2)))
    cache = empty_cache(6)
    mask = np.array([[0, 0, 1, 1, 1, 0]] * 2)
    for start, end in ((0, 3), (3, 4), (4, 5)):
        outputs, cache = layer(
            X[:, start:end],
            decoder_padding_mask=mask,
            self_attention_cache=cache,
            self_attention_cache_update_index=start,
        )
    np.testing.assert_allclose(numpy(outputs), whole[:, 4:], **TOLERANCE)


def test_attention_with_a_cache_is_attention_to_all_that_was_put_into_it(cached_attention):
    layer = cached_attention
    whole, scores = layer(X, ENCODED, return_attention_scores=True)
    outputs, cache = layer(X, ENCODED, cache=empty_cache(4), cache_update_index=0)
    np.testing.assert_allclose(numpy(outputs), numpy(whole), **TOLERANCE)
    again, again_scores, same = layer(X, None, cache=cache, return_attention_scores=True)
    np.testing.assert_allclose(numpy(again), numpy(whole), **TOLERANCE)
    np.testing.assert_allclose(numpy(again_scores), numpy(scores), **TOLERANCE)
    np.testing.assert_array_equal(numpy(same), numpy(cache))


def test_attention_without_a_cache_is_that_of_keras(cached_attention):
    layer = cached_attention
    of_keras = keras.layers.MultiHeadAttention.from_config(layer.get_config())
    of_keras.build((None, None, 8), (None, None, 8))
    of_keras.set_weights(layer.get_weights())
    outputs = layer(X, ENCODED, attention_mask=TO_ENCODER)
    np.testing.assert_allclose(
        numpy(outputs), numpy(of_keras(X, ENCODED, attention_mask=TO_ENCODER)), **TOLERANCE
    )


def test_gated_attention_is_that_of_keras():
    layer = CachedMultiHeadAttention(num_heads=2, key_dim=4, use_gate=True)
    layer.build((None, None, 8), (None, None, 8))
    randomize(layer)
    of_keras = keras.layers.MultiHeadAttention.from_config(layer.get_config())
    of_keras.build((None, None, 8), (None, None, 8))
    of_keras.set_weights(layer.get_weights())
    np.testing.assert_allclose(numpy(layer(X, X)), numpy(of_keras(X, X)), **TOLERANCE)


def test_functional_models_know_the_shapes_of_caches():
    x = keras.Input((1, 8))
    cache = keras.Input((2, 6, 2, 4))
    outputs = TransformerDecoder(16, 2)(
        x, self_attention_cache=cache, self_attention_cache_update_index=3
    )
    assert [output.shape for output in outputs] == [(None, 1, 8), (None, 2, 6, 2, 4)]
    attended = CachedMultiHeadAttention(2, 4)(
        x, x, cache=cache, cache_update_index=0, return_attention_scores=True
    )
    shapes = [(None, 1, 8), (None, 2, 1, 6), (None, 2, 6, 2, 4)]
    assert [output.shape for output in attended] == shapes
    model = keras.Model([x, cache], attended)
    outputs = model([X[:, :1], empty_cache(6)])
    assert [output.shape[1:] for output in outputs] == [shape[1:] for shape in shapes]


def test_dropout_acts_in_training_alone(make):
    layer = make(dropout=0.5)
    np.testing.assert_array_equal(numpy(layer(X, ENCODED)), numpy(layer(X, ENCODED)))
    trained = numpy(layer(X, ENCODED, training=True))
    assert np.abs(trained - numpy(layer(X, ENCODED))).max() > 1e-3


def test_an_encoder_comes_always_or_never(make):
    with pytest.raises(InputError, match="built with an `encoder_sequence` .* called without"):
        make()(X)
    with pytest.raises(InputError, match="built without an `encoder_sequence` .* called with one"):
        make(has_encoder=False)(X, ENCODED)


def test_missing_and_needless_caches_are_refused(make):
    with pytest.raises(InputError, match="pass both `self_attention_cache` and"):
        make()(X, ENCODED, self_attention_cache=empty_cache(5))
    with pytest.raises(InputError, match="takes no `cross_attention_cache`"):
        make(has_encoder=False)(X, cross_attention_cache=empty_cache(5))
    with pytest.raises(InputError, match="`cache_update_index` without a `cache`"):
        CachedMultiHeadAttention(2, 4)(X, X, cache_update_index=0)


def test_a_cache_with_heads_first_gives_what_an_array_gives(cached_attention):
    array = random.normal(size=(2, 2, 6, 2, 4)).astype("float32")
    options = {"cache_update_index": 1, "return_attention_scores": True}
    x, scores, updated = cached_attention(X, X, cache=array, **options)
    *others, cache = cached_attention(X, X, cache=KeyValueCache.of(array), **options)
    assert isinstance(cache, KeyValueCache)
    found = (*others, cache.in_form_of(array))
    for one, other in zip(found, (x, scores, updated), strict=True):
        np.testing.assert_allclose(numpy(one), numpy(other), **TOLERANCE)
