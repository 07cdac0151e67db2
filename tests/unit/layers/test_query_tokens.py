"""Blocks that compute some tokens give what they give when they compute all of them."""

import numpy as np
import pytest

from clozework.errors import ConfigError
from clozework.layers import (
    BiasedTransformerEncoder,
    Dense,
    DisentangledAttentionEncoder,
    TransformerDecoder,
    TransformerEncoder,
    query_tokens,
)
from tests.unit.layers.references import numpy, randomize

RANDOM = np.random.default_rng(4)
X = RANDOM.normal(size=(4, 20, 8)).astype("float32")
# Texts with numbers of their own, as of one step; the last row is padding throughout.
PADDING = np.zeros((4, 20), "int32")
PADDING[0, :12], PADDING[0, 12:17], PADDING[1, :20], PADDING[2, :3], PADDING[2, 3:9] = 2, 3, 4, 5, 6
FIRST_TOKENS = np.array([[0, 12], [20, 20], [40, 43], [60, 60]], "int32")
# In any order, and not only the first ones.
ANY_TOKENS = np.array([[43, 5, 0, 39, 25, 12, 40]], "int32")
TWO_GROUPS = np.array([[12, 0, 33], [43, 40, 45]], "int32")


def transformer(**options):
    return TransformerEncoder(16, 2, **options), {}


def disentangled(**options):
    # Few buckets, so that some tokens are farther apart than the buckets tell.
    block = DisentangledAttentionEncoder(
        16, 2, max_position_embeddings=16, bucket_size=4, **options
    )
    return block, {"rel_embeddings": RANDOM.normal(size=(8, 8)).astype("float32")}


def biased(**options):
    bias = RANDOM.normal(size=(2, 20, 20)).astype("float32")
    return BiasedTransformerEncoder(16, 2, **options), {"position_bias": bias}


@pytest.mark.parametrize("positions", [FIRST_TOKENS, ANY_TOKENS, TWO_GROUPS])
@pytest.mark.parametrize("normalize_first", [False, True])
@pytest.mark.parametrize("made", [transformer, disentangled, biased])
def test_tokens_that_are_asked_for_are_as_among_all(made, normalize_first, positions):
    block, others = made(normalize_first=normalize_first)
    block(X, **others, padding_mask=PADDING)
    randomize(block)
    everything = numpy(block(X, **others, padding_mask=PADDING)).reshape(80, 8)
    with query_tokens(block, positions):
        outputs = numpy(block(X, **others, padding_mask=PADDING))
    assert outputs.shape == (*positions.shape, 8)
    is_token = PADDING.ravel()[positions] > 0
    expected = everything[positions]
    np.testing.assert_allclose(outputs[is_token], expected[is_token], atol=1e-5, rtol=0)
    assert np.isfinite(outputs).all()


def test_other_blocks_and_later_calls_compute_all_tokens():
    block, _ = transformer()
    other, _ = transformer()
    with query_tokens(block, FIRST_TOKENS):
        assert other(X, padding_mask=PADDING).shape == X.shape
    assert block(X, padding_mask=PADDING).shape == X.shape


def test_a_failure_within_leaves_nothing_behind():
    block, _ = transformer()
    with pytest.raises(ZeroDivisionError), query_tokens(block, FIRST_TOKENS):
        1 / 0  # noqa: B018
    assert block(X, padding_mask=PADDING).shape == X.shape


def test_without_a_padding_mask_queries_attend_to_all_tokens_of_their_row():
    block, _ = transformer()
    block.build((None, None, 8))
    randomize(block)
    with query_tokens(block, FIRST_TOKENS):
        outputs = numpy(block(X))
    expected = numpy(block(X)).reshape(80, 8)[FIRST_TOKENS]
    np.testing.assert_allclose(outputs, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("made", [lambda: TransformerDecoder(16, 2), lambda: Dense(8)])
def test_what_computes_all_tokens_is_refused(made):
    with pytest.raises(ConfigError, match="computes all tokens"), query_tokens(made(), ANY_TOKENS):
        pass
