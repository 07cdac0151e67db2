"""What every encoder computes: packing, padding, masks, and the layers it is made of."""

import re

import keras
import numpy as np
import pytest

from clozework.layers import positions_within_texts, self_attention_mask
from tests.contract.families import (
    assert_same_outputs,
    has_padding_mask,
    names_of,
    random_inputs,
    tiny_backbone,
    token_vectors,
)

LENGTHS = [5, 3, 6]
# As KerasHub names them: code that cuts a backbone depends on it.
LAYER_NAMES = {
    "albert": """token_embedding position_embedding segment_embedding embeddings_add
        embeddings_layer_norm embeddings_dropout embedding_projection group_0_inner_layer_0
        group_1_inner_layer_0 pooled_dense""",
    "bart": """token_embedding encoder_position_embedding encoder_embeddings_add
        encoder_embeddings_layer_norm encoder_embeddings_dropout transformer_encoder_layer_0
        transformer_encoder_layer_1 decoder_position_embedding decoder_embeddings_add
        decoder_embeddings_layer_norm decoder_embeddings_dropout transformer_decoder_layer_0
        transformer_decoder_layer_1""",
    "bert": """token_embedding position_embedding segment_embedding embeddings_add
        embeddings_layer_norm embeddings_dropout transformer_layer_0 transformer_layer_1
        pooled_dense""",
    "distil_bert": """token_and_position_embedding embeddings_layer_norm embeddings_dropout
        transformer_layer_0 transformer_layer_1""",
    "modern_bert": """token_embedding embeddings_layer_norm embeddings_dropout
        transformer_layer_0 transformer_layer_1 final_normalization""",
    "mpnet": """embeddings embeddings_layer_norm embeddings_dropout relative_position_bias
        transformer_layer_0 transformer_layer_1""",
    "roberta": """embeddings embeddings_layer_norm embeddings_dropout transformer_layer_0
        transformer_layer_1""",
    "xlm_roberta": """embeddings embeddings_layer_norm embeddings_dropout transformer_layer_0
        transformer_layer_1""",
    "electra": """token_embedding position_embedding segment_embedding embeddings_add
        embeddings_layer_norm embeddings_dropout embeddings_projection transformer_layer_0
        transformer_layer_1 pooled_dense""",
    "f_net": """token_embedding position_embedding segment_embedding embeddings_add
        embeddings_layer_norm embedding_projection embeddings_dropout f_net_layer_0 f_net_layer_1
        pooled_dense""",
    "deberta_v3": """token_embedding embeddings_layer_norm embeddings_dropout rel_embedding
        disentangled_attention_encoder_layer_0 disentangled_attention_encoder_layer_1""",
    "gemma": "token_embedding decoder_block_0 decoder_block_1 final_normalization",
}
HEAD_LAYER_NAMES = {
    "AlbertTextClassifier": "output_dropout logits",
    "BartTextClassifier": "pooling pooled_dropout pooled_dense classifier_dropout logits",
    "BertTextClassifier": "classifier_dropout logits",
    "ElectraTextClassifier": "pooled_dropout pooled_dense classifier_dropout logits",
    "FNetTextClassifier": "classifier_dropout logits",
    "DistilBertTextClassifier": "pooled_dense classifier_dropout logits",
    "ModernBertQuestionAnswerer": "head_dense head_layer_norm answer_dropout logits",
    "ModernBertTextClassifier": "pooling head_dense head_layer_norm classifier_dropout logits",
    "ModernBertTokenClassifier": "head_dense head_layer_norm classifier_dropout logits",
    "MPNetTextClassifier": "pooled_dropout pooled_dense classifier_dropout logits",
    "RobertaTextClassifier": "pooled_dropout pooled_dense classifier_dropout logits",
    "XLMRobertaTextClassifier": "pooled_dropout pooled_dense classifier_dropout logits",
    "DebertaV3TextClassifier": "pooled_dropout pooled_dense classifier_dropout logits",
}


def packed(inputs, lengths, tokens):
    """Joins the rows of a padded batch to one row, whose mask numbers the texts."""
    row = {
        name: np.concatenate([values[i, :length] for i, length in enumerate(lengths)])
        for name, values in inputs.items()
    }
    for name in names_of(inputs, "padding_mask"):
        row[name] = np.repeat(np.arange(1, len(lengths) + 1, dtype="int32"), lengths)
    return {name: np.pad(values, (0, tokens - len(values)))[None] for name, values in row.items()}


def test_a_packed_row_gives_each_text_the_numbers_that_it_has_alone(
    masking_family, masking_backbone
):
    texts = random_inputs(masking_family, LENGTHS)
    in_one_row = token_vectors(masking_backbone, packed(texts, LENGTHS, tokens=16))[0]
    start = 0
    for i, length in enumerate(LENGTHS):
        alone = token_vectors(
            masking_backbone, {name: v[i : i + 1, :length] for name, v in texts.items()}
        )
        np.testing.assert_allclose(in_one_row[start : start + length], alone[0], rtol=0, atol=1e-5)
        start += length


def test_packed_texts_do_not_see_each_other(masking_family, masking_backbone):
    inputs = packed(random_inputs(masking_family, LENGTHS), LENGTHS, tokens=16)
    before = token_vectors(masking_backbone, inputs)[0]
    for name in names_of(inputs, "token_ids"):
        inputs[name][0, 5:8] = inputs[name][0, 5:8][::-1] - 1
    after = token_vectors(masking_backbone, inputs)[0]
    np.testing.assert_array_equal(after[:5], before[:5])
    np.testing.assert_array_equal(after[8:14], before[8:14])
    assert np.abs(after[5:8] - before[5:8]).max() > 1e-3


def test_padding_and_neighbours_do_not_change_a_text(masking_family, masking_backbone):
    texts = random_inputs(masking_family, LENGTHS, tokens=16)
    in_batch = token_vectors(masking_backbone, texts)
    for i, length in enumerate(LENGTHS):
        alone = token_vectors(
            masking_backbone, {name: v[i : i + 1, :length] for name, v in texts.items()}
        )
        np.testing.assert_allclose(in_batch[i, :length], alone[0], rtol=0, atol=1e-5)


def test_ids_of_padding_do_not_matter(masking_family, masking_backbone):
    texts = random_inputs(masking_family, LENGTHS, tokens=16)
    before = token_vectors(masking_backbone, texts)
    is_token = texts[names_of(texts, "padding_mask")[0]].astype(bool)
    for name in names_of(texts, "token_ids"):
        texts[name] = np.where(is_token, texts[name], 9)
    np.testing.assert_array_equal(
        token_vectors(masking_backbone, texts)[is_token], before[is_token]
    )


def test_a_mask_of_booleans_is_one_of_ones(masking_family, masking_backbone):
    texts = random_inputs(masking_family, LENGTHS, tokens=16)
    masks = {name: texts[name].astype(bool) for name in names_of(texts, "padding_mask")}
    as_booleans = {**texts, **masks}
    np.testing.assert_array_equal(
        token_vectors(masking_backbone, as_booleans), token_vectors(masking_backbone, texts)
    )


def test_without_a_mask_padding_is_computed_on(family, backbone):
    if has_padding_mask(family):
        return
    short, long = (random_inputs(family, [5], tokens=tokens) for tokens in (5, 16))
    difference = token_vectors(backbone, long)[:, :5] - token_vectors(backbone, short)
    assert np.abs(difference).max() > 1e-3


def test_zeros_and_ones_mask_keys_alone_and_leave_positions():
    mask = np.array([[0, 1, 1, 0, 1, 0], [1, 1, 1, 1, 1, 1]])
    allowed = keras.ops.convert_to_numpy(self_attention_mask(mask))
    np.testing.assert_array_equal(allowed, np.repeat(mask[:, None, :] == 1, 6, axis=1))
    positions = keras.ops.convert_to_numpy(positions_within_texts(mask))
    np.testing.assert_array_equal(positions, np.arange(6)[None].repeat(2, axis=0))


def test_predict_gives_what_a_call_gives(family, backbone):
    inputs = random_inputs(family, LENGTHS, tokens=16)
    predicted = backbone.token_vectors(backbone.predict(inputs, verbose=0))
    np.testing.assert_allclose(predicted, token_vectors(backbone, inputs), rtol=0, atol=1e-5)


def test_layers_have_the_names_of_kerashub(family, backbone):
    names = [layer.name for layer in backbone.layers if layer.name not in backbone.input_names]
    assert sorted(names) == sorted(LAYER_NAMES[family.name].split())


def test_layers_of_heads_have_the_names_of_kerashub(task):
    others = {
        "MaskedLM": "mlm_head",
        "TextEmbedder": "pooling normalization",
        "QuestionAnswerer": "logits",
        "Seq2SeqLM": "token_embedding",
        "TokenClassifier": "classifier_dropout logits",
        "CausalLM": "token_embedding",
    }
    expected = HEAD_LAYER_NAMES.get(type(task).__name__) or others[task.kind]
    names = {layer.name for layer in task.layers}
    assert set(expected.split()) <= names
    assert task.backbone.name in names


def test_a_backbone_can_be_cut_at_any_layer(family, backbone):
    inputs = random_inputs(family, LENGTHS)
    blocks = [
        layer
        for layer in backbone.layers
        if re.search(r"(layer|block)_\d$|final_normalization", layer.name)
    ]
    cut = keras.Model(backbone.input, blocks[0].output)
    rest = keras.Model(backbone.input, blocks[-1].output)
    vectors = keras.ops.convert_to_numpy(cut(inputs))
    assert vectors.shape == (3, 6, 8)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(rest(inputs)), token_vectors(backbone, inputs)
    )
    assert np.abs(vectors - token_vectors(backbone, inputs)).max() > 1e-3


def test_constructor_arguments_are_attributes_and_make_an_equal_model(family, backbone):
    config = backbone.get_config()
    assert backbone.vocabulary_size == config[backbone.input_limits["token_ids"]]
    other = type(backbone).from_config(config)
    assert other.get_config() == config
    other.set_weights(backbone.get_weights())
    assert_same_outputs(other, backbone, random_inputs(family, LENGTHS))


def test_the_token_embedding_is_the_one_that_is_used(family, backbone):
    assert backbone.token_embedding.input_dim == backbone.vocabulary_size
    assert any(w is backbone.token_embedding.embeddings for w in backbone.weights)


def test_dropout_acts_in_training_alone(family):
    backbone = tiny_backbone(family, dropout=0.5)
    inputs = random_inputs(family, LENGTHS)
    still = token_vectors(backbone, inputs)
    np.testing.assert_array_equal(token_vectors(backbone, inputs), still)
    trained = backbone.token_vectors(backbone(inputs, training=True))
    assert np.abs(keras.ops.convert_to_numpy(trained) - still).max() > 1e-3


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "mixed_bfloat16", "mixed_float16"])
def test_low_precision_stays_close_to_float32(family, backbone, dtype):
    inputs = random_inputs(family, LENGTHS, tokens=16)
    # A row of padding alone comes from rounding a batch up.
    for name in names_of(inputs, "padding_mask"):
        inputs[name][2] = 0
    low = tiny_backbone(family, dtype=dtype)
    low.set_weights([np.asarray(values) for values in backbone.get_weights()])
    vectors = low.token_vectors(low(inputs))
    assert keras.backend.standardize_dtype(vectors.dtype) == dtype.removeprefix("mixed_")
    vectors = keras.ops.convert_to_numpy(keras.ops.cast(vectors, "float32"))
    assert np.isfinite(vectors).all()
    difference = np.abs(vectors - token_vectors(backbone, inputs))[:2].max()
    assert difference < (0.02 if dtype.removeprefix("mixed_") == "float16" else 0.1)
