"""Embeddings of tokens and positions, the head that reads them backwards, masks."""

import keras
import numpy as np
import pytest

from clozework.errors import ConfigError, InputError
from clozework.layers import (
    MaskedLMHead,
    PositionEmbedding,
    ReversibleEmbedding,
    SinePositionEncoding,
    TokenAndPositionEmbedding,
    TransformerEncoder,
    positions_within_texts,
)
from tests.unit.layers.references import dense, layer_norm, numpy, randomize, softmax, weights

IDS = np.array([[1, 2, 3, 0, 0], [4, 5, 6, 7, 8]])
X = np.random.default_rng(2).normal(size=(2, 5, 8))
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def made(layer, *shape):
    layer.build(shape)
    randomize(layer)
    return layer


@pytest.fixture
def positions():
    return made(PositionEmbedding(7), None, None, 8)


@pytest.fixture
def embedding():
    return made(TokenAndPositionEmbedding(10, 7, 8), None, None)


def test_positions_are_counted_from_zero(positions):
    table = weights(positions)["embeddings"]
    for x in (X, X[0], X[:, None]):
        outputs = numpy(positions(x.astype("float32")))
        np.testing.assert_allclose(outputs, np.broadcast_to(table[:5], x.shape), **TOLERANCE)


def test_positions_may_start_later_or_be_given(positions):
    table = weights(positions)["embeddings"]
    later = numpy(positions(X.astype("float32"), start_index=2))
    np.testing.assert_allclose(later[1], table[2:7], **TOLERANCE)
    given = np.array([[6, 5, 4, 3, 2], [0, 0, 1, 1, 2]])
    for each in (given, given[0]):
        outputs = numpy(positions(X.astype("float32"), positions=each))
        np.testing.assert_allclose(outputs, np.broadcast_to(table[each], X.shape), **TOLERANCE)


def test_positions_begin_anew_with_each_text(positions):
    table = weights(positions)["embeddings"]
    packed = np.array([[1, 1, 2, 2, 0], [1, 1, 1, 0, 0]])
    outputs = numpy(positions(X.astype("float32"), padding_mask=packed))
    places = numpy(positions_within_texts(packed))
    assert places[:, :4].tolist() == [[0, 1, 0, 1], [0, 1, 2, 3]]
    np.testing.assert_allclose(outputs, table[places], **TOLERANCE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start_index": 3}, "has the positions 3 to 7, but `.*` has vectors for 0 to 6"),
        ({"start_index": -1}, "has the positions -1 to 3"),
        ({"positions": np.array([[0, 1, 2, 3, 7]] * 2)}, "has the positions 0 to 7"),
        ({"positions": np.array([0, 1, 2, 3, -2])}, "has the positions -2 to 3"),
    ],
    ids=repr,
)
def test_positions_without_a_vector_are_refused(positions, options, message):
    with pytest.raises(InputError, match=message):
        positions(X.astype("float32"), **options)


def test_inputs_longer_than_the_positions_say_what_to_do(positions, embedding):
    expected = r"8 tokens long, but `.*` has 7 positions \(`max_sequence_length`\). Cut the input"
    with pytest.raises(InputError, match=expected):
        positions(np.zeros((1, 8, 8), "float32"))
    with pytest.raises(InputError, match=expected):
        embedding(np.ones((1, 8), "int32"))


@pytest.mark.parametrize("hidden_dim", [8, 7])
@pytest.mark.parametrize("longest", [10000, 50])
def test_sine_positions_are_those_of_the_paper(hidden_dim, longest):
    outputs = numpy(SinePositionEncoding(longest)(np.zeros((2, 30, hidden_dim), "float32")))
    for place in (0, 1, 17, 29):
        for dimension in range(hidden_dim):
            angle = place / longest ** (2 * (dimension // 2) / hidden_dim)
            expected = np.cos(angle) if dimension % 2 else np.sin(angle)
            np.testing.assert_allclose(outputs[:, place, dimension], expected, **TOLERANCE)


def test_sine_positions_may_start_later_or_be_given():
    layer = SinePositionEncoding()
    whole = numpy(layer(np.zeros((1, 9, 8), "float32")))
    x = np.zeros((1, 5, 8), "float32")
    np.testing.assert_allclose(numpy(layer(x, start_index=4)), whole[:, 4:], **TOLERANCE)
    places = np.array([[8, 0, 3, 3, 1]])
    outputs = numpy(layer(x, positions=places))
    np.testing.assert_allclose(outputs, whole[:, places[0]], **TOLERANCE)


def test_sine_positions_are_exact_in_half_floats():
    x = np.zeros((1, 3000, 8))
    half = numpy(keras.ops.cast(SinePositionEncoding(dtype="float16")(x), "float32"))
    assert np.abs(half - numpy(SinePositionEncoding()(x))).max() < 1e-3


def test_tokens_and_positions_are_summed(embedding):
    w = weights(embedding)
    tokens, places = w["token_embedding/embeddings"], w["position_embedding/embeddings"]
    np.testing.assert_allclose(numpy(embedding(IDS)), tokens[IDS] + places[:5], **TOLERANCE)
    later = numpy(embedding(IDS, start_index=2))
    np.testing.assert_allclose(later, tokens[IDS] + places[2:7], **TOLERANCE)
    given = np.array([[0, 1, 0, 1, 2]] * 2)
    outputs = numpy(embedding(IDS, positions=given))
    np.testing.assert_allclose(outputs, tokens[IDS] + places[given], **TOLERANCE)


def test_both_tables_begin_with_other_numbers():
    embedding = TokenAndPositionEmbedding(6, 6, 4)
    embedding.build((None, None))
    first, second = weights(embedding).values()
    assert np.abs(first - second).max() > 1e-3


def test_the_padding_of_mask_zero_reaches_attention():
    x = keras.Input((None,), dtype="int32")
    embedding = TokenAndPositionEmbedding(10, 7, 8, mask_zero=True)
    block = TransformerEncoder(16, 2)
    model = keras.Model(x, block(embedding(x)))
    randomize(model.layers[1])
    randomize(block)
    explicit = numpy(block(numpy(embedding(IDS)), padding_mask=IDS > 0))
    outputs = numpy(model(IDS))
    np.testing.assert_allclose(outputs[IDS > 0], explicit[IDS > 0], **TOLERANCE)


def test_without_mask_zero_there_is_no_mask(embedding):
    assert embedding.compute_mask(IDS) is None
    masked = TokenAndPositionEmbedding(10, 7, 8, mask_zero=True)
    np.testing.assert_array_equal(numpy(masked.compute_mask(IDS)), IDS > 0)


def test_vectors_read_backwards_are_scores():
    embedding = made(ReversibleEmbedding(10, 8), None, None)
    table = weights(embedding)["embeddings"]
    np.testing.assert_allclose(numpy(embedding(IDS)), table[IDS], **TOLERANCE)
    scores = numpy(embedding(X.astype("float32"), reverse=True))
    np.testing.assert_allclose(scores, X @ table.T, **TOLERANCE)


def test_untied_vectors_have_a_table_of_their_own():
    embedding = made(ReversibleEmbedding(10, 8, tie_weights=False), None, None)
    reverse = weights(embedding)["reverse_embeddings"]
    scores = numpy(embedding(X.astype("float32"), reverse=True))
    np.testing.assert_allclose(scores, X @ reverse, **TOLERANCE)


@pytest.mark.parametrize("token_id", [10, -1])
def test_ids_without_a_vector_are_refused(embedding, token_id):
    expected = f"Token ids go from .*{token_id}.*, but `token_embedding` has vectors for 0 to 9"
    with pytest.raises(InputError, match=expected):
        embedding(np.array([[token_id, 3]]))


def head_reference(head, x, places, table=None, epsilon=1e-5):
    w = weights(head)
    x = np.take_along_axis(x, places[..., None], axis=1)
    x = np.maximum(dense(x, w, "intermediate_dense"), 0.0)
    x = layer_norm(x, w, "intermediate_layer_norm", epsilon)
    return x @ (w["output_kernel"] if table is None else table.T) + w["output_bias"]


PLACES = np.array([[0, 4, 4], [2, 1, 0]])


def test_the_head_scores_the_positions_asked_for():
    head = made(MaskedLMHead(10), None, None, 8)
    outputs = numpy(head(X.astype("float32"), PLACES))
    assert outputs.shape == head.compute_output_shape(X.shape, PLACES.shape) == (2, 3, 10)
    np.testing.assert_allclose(outputs, head_reference(head, X, PLACES), **TOLERANCE)


@pytest.mark.parametrize("width", [8, 6])
def test_the_head_reads_the_embedding_backwards(width):
    embedding = made(ReversibleEmbedding(10, width), None, None)
    head = MaskedLMHead(token_embedding=embedding, layer_norm_epsilon=1e-3)
    head.build((None, None, 8), (None, None))
    own = [v for v in head.weights if not v.path.startswith(embedding.path)]
    random = np.random.default_rng(3)
    for variable in own:
        variable.assign(random.normal(size=variable.shape))
    table = weights(embedding)["embeddings"]
    outputs = numpy(head(X.astype("float32"), mask_positions=PLACES))
    np.testing.assert_allclose(
        outputs, head_reference(head, X, PLACES, table, epsilon=1e-3), **TOLERANCE
    )


def test_the_head_may_have_an_activation():
    head = MaskedLMHead(10, activation="softmax")
    head.build((None, None, 8))
    randomize(head)
    expected = softmax(head_reference(head, X, PLACES))
    np.testing.assert_allclose(numpy(head(X.astype("float32"), PLACES)), expected, **TOLERANCE)


@pytest.mark.parametrize("place", [5, -1])
def test_the_head_refuses_positions_outside_of_the_row(place):
    head = MaskedLMHead(10)
    with pytest.raises(InputError, match="`mask_positions` goes from .*, but rows have the pos"):
        head(X.astype("float32"), np.array([[place, 1], [1, 2]]))


def test_the_head_needs_one_vocabulary():
    with pytest.raises(ConfigError, match="needs `token_embedding` or `vocabulary_size`"):
        MaskedLMHead()
    with pytest.raises(ConfigError, match="vocabulary_size=12, a token embedding of 10 tokens"):
        MaskedLMHead(12, ReversibleEmbedding(10, 8))
