"""What `TextEmbedder` adds to a task."""

import numpy as np
import pytest

from clozework import models
from clozework.errors import ClozeworkWarning, ConfigError, InputError, WeightsError
from tests.contract.families import FAMILIES, TEXTS, tiny_backbone, tiny_preprocessor, tiny_task

PROMPTS = {"query": "the quick ", "document": "the lazy "}


@pytest.fixture(scope="module")
def embedder():
    return tiny_task(models.BertTextEmbedder, prompts=PROMPTS)


def test_a_string_gives_a_vector_and_a_list_rows(embedder):
    vectors = embedder.embed(TEXTS)
    assert (vectors.shape, vectors.dtype) == ((3, 8), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1.0, atol=1e-6)
    np.testing.assert_allclose(embedder.embed(TEXTS[1]), vectors[1], rtol=0, atol=1e-6)
    assert embedder.embed([]).shape == (0, 8)
    assert embedder.embed([], truncate_dim=3).shape == (0, 3)


def test_vectors_are_those_of_predict(embedder):
    expected = embedder.predict(TEXTS, verbose=0)
    for ways in (embedder.encode_text, embedder.encode_documents):
        np.testing.assert_array_equal(ways(TEXTS, verbose=0), expected)
    np.testing.assert_allclose(embedder.embed(TEXTS, batch_size=2), expected, rtol=0, atol=1e-6)


def test_a_prompt_is_put_before_each_text(embedder):
    expected = embedder.embed([PROMPTS["query"] + text for text in TEXTS])
    np.testing.assert_array_equal(embedder.embed(TEXTS, prompt_name="query"), expected)
    with pytest.raises(InputError, match=r"no prompt 'title'\. It has: 'query', 'document'"):
        embedder.embed(TEXTS, prompt_name="title")


def test_a_default_prompt_is_used_where_none_is_named(embedder):
    with_default = models.BertTextEmbedder(
        embedder.backbone, embedder.preprocessor, prompts=PROMPTS, default_prompt_name="query"
    )
    expected = embedder.embed(TEXTS, prompt_name="query")
    np.testing.assert_allclose(with_default.embed(TEXTS), expected, rtol=0, atol=1e-6)


def test_similarity_is_the_dot_product(embedder):
    vectors = embedder.embed(TEXTS)
    np.testing.assert_allclose(embedder.similarity(vectors, vectors), vectors @ vectors.T)
    assert embedder.similarity(vectors[0], vectors[1]).shape == (1, 1)


@pytest.mark.parametrize(
    ("queries", "documents", "message"),
    [
        (np.ones((2, 3)), np.ones((2, 4)), r"Vectors of 3 and of 4 components cannot be compared"),
        (["a text"], np.ones((2, 4)), r"`query_embeddings` must be vectors, .* Received: \['a te"),
        (np.ones(3), np.ones((1, 2, 3)), r"`document_embeddings` must be vectors"),
    ],
)
def test_what_is_no_vector_is_not_compared(embedder, queries, documents, message):
    with pytest.raises(InputError, match=message):
        embedder.similarity(queries, documents)


def test_fewer_components_have_length_one_again(embedder):
    whole, cut = embedder.embed(TEXTS), embedder.embed(TEXTS, truncate_dim=3)
    expected = whole[:, :3] / np.linalg.norm(whole[:, :3], axis=-1, keepdims=True)
    np.testing.assert_allclose(cut, expected, rtol=0, atol=1e-6)
    for dim in (0, 9, 1.5, "3", True):
        with pytest.raises(InputError, match=rf"`truncate_dim` .* from 1 to 8. Received: {dim!r}"):
            embedder.embed(TEXTS, truncate_dim=dim)


def test_vectors_of_few_bits_are_compared_without_overflow(embedder):
    for dtype in ("int8", "float16"):
        vectors = np.full((2, 700), 100, dtype)
        assert embedder.similarity(vectors, vectors).tolist() == [[7e6, 7e6]] * 2


def test_long_vectors_have_length_one_in_float16(embedder):
    half = models.BertTextEmbedder(
        tiny_backbone(FAMILIES["bert"], dtype="mixed_float16"),
        embedder.preprocessor,
        normalize=True,
    )
    norm = half.backbone.get_layer("transformer_layer_1")._feedforward_layer_norm
    norm.gamma.assign(np.full(8, 300.0))
    lengths = np.linalg.norm(half.embed(TEXTS), axis=-1)
    np.testing.assert_allclose(lengths, 1.0, atol=1e-3)


def test_a_pair_has_no_vector(embedder):
    with pytest.raises(InputError, match=r"Text 0 is \('c', 'd'\), several texts"):
        embedder.embed([("c", "d"), ("a", "b")])


def test_what_is_no_text_is_named(embedder):
    with pytest.raises(InputError, match=r"x\[1\] is None"):
        embedder.embed(["the fox", None])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pooling_mode": "sum"}, r"one of 'mean', .*'lasttoken'\. Received: 'sum'"),
        ({"projections": [{"width": 3}]}, r"must be a dict with 'units'.*Received: \{'width'"),
        ({"projections": [5]}, r"must be a dict with 'units'.*Received: 5"),
        ({"prompts": {"query": 5}}, r"`prompts` must be a dict of strings"),
        ({"default_prompt_name": "query"}, r"is 'query', but the prompts are: none"),
    ],
)
def test_what_cannot_be_is_refused(embedder, arguments, message):
    with pytest.raises(ConfigError, match=message):
        models.BertTextEmbedder(embedder.backbone, None, **arguments)


def test_projections_and_prompts_survive(tmp_path):
    embedder = tiny_task(
        models.RobertaTextEmbedder,
        pooling_mode="max",
        normalize=False,
        projections=[{"units": 5, "activation": "tanh"}, {"units": 3, "use_bias": False}],
        prompts=PROMPTS,
    )
    assert embedder.embed(TEXTS).shape == (3, 3)
    embedder.save_to_preset(tmp_path / "ours")
    embedder.export_to_transformers(tmp_path / "theirs")
    for directory in ("ours", "theirs"):
        loaded = models.TextEmbedder.from_preset(tmp_path / directory)
        np.testing.assert_allclose(loaded.embed(TEXTS), embedder.embed(TEXTS), rtol=0, atol=1e-6)
        assert (loaded.prompts, loaded.normalize) == (PROMPTS, False)


def test_other_projections_than_the_stored_ones_are_new(tmp_path):
    embedder = tiny_task(models.BertTextEmbedder, projections=[{"units": 5}])
    embedder.export_to_transformers(tmp_path / "theirs")
    with pytest.warns(ClozeworkWarning, match="has no head for BertTextEmbedder; it is random"):
        models.TextEmbedder.from_preset(tmp_path / "theirs", projections=[{"units": 5}] * 2)
    with pytest.raises(WeightsError, match=r"in '2_Dense' of .* have the shapes .* 'projection_0'"):
        models.TextEmbedder.from_preset(tmp_path / "theirs", projections=[{"units": 4}])


def test_rows_are_of_256_tokens_by_default():
    tokenizer = tiny_preprocessor(models.BertTextEmbedder).tokenizer
    assert models.BertTextEmbedderPreprocessor(tokenizer).sequence_length == 256


def test_training_needs_a_loss():
    embedder = tiny_task(models.BertTextEmbedder)
    embedder.compile(loss="mse")
    before = embedder.evaluate(TEXTS, np.zeros((3, 8)), verbose=0)
    assert before == pytest.approx(1 / 8, rel=1e-5)
