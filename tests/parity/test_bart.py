"""BART against `transformers`, to 1e-5: its directories loaded by us, ours loaded by it."""

import json
import warnings

import keras
import numpy as np
import pytest
import torch
import transformers

from clozework import models
from clozework.errors import ConfigError, PresetError

SIZES = {
    "vocab_size": 40,
    "d_model": 12,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 3,
    "decoder_attention_heads": 3,
    "encoder_ffn_dim": 20,
    "decoder_ffn_dim": 20,
    "max_position_embeddings": 24,
}
CONFIGS = {
    "plain": SIZES,
    "odd": {
        **SIZES,
        "activation_function": "gelu_new",
        "scale_embedding": True,
        "decoder_attention_heads": 2,
        "decoder_ffn_dim": 16,
    },
    # As in DistilBART: a short decoder.
    "distil": {**SIZES, "encoder_layers": 3, "decoder_layers": 1},
}
CLASSES = {
    "backbone": (models.Backbone, transformers.BartModel),
    "seq2seq": (models.Seq2SeqLM, transformers.BartForConditionalGeneration),
    "classifier": (models.TextClassifier, transformers.BartForSequenceClassification),
}
LABELS = {0: "bad", 1: "good", 2: "so so"}


def random_model(name, kind, **extra):
    config = transformers.BartConfig(**{**CONFIGS[name], "id2label": LABELS, **extra})
    torch.manual_seed(0)
    model = CLASSES[kind][1](config).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.normal_(std=0.3)
            if "norm" in key and key.endswith("weight"):
                parameter.add_(1.0)
        for key, buffer in model.named_buffers():
            if key == "final_logits_bias":
                buffer.normal_()
    return model


def random_rows(seed, lengths, tokens):
    """Returns ids that end with BART's end token, and their mask."""
    generator = np.random.default_rng(seed)
    mask = (np.arange(tokens) < np.array(lengths)[:, None]).astype("int32")
    ids = np.where(mask == 1, generator.integers(4, 40, mask.shape), 1)
    ids[np.arange(len(lengths)), np.array(lengths) - 1] = 2
    return ids.astype("int32"), mask


def inputs_for(kind):
    encoder_ids, encoder_mask = random_rows(0, [18, 11, 2], 18)
    if kind == "classifier":
        decoder_ids, decoder_mask = np.roll(encoder_ids, 1, axis=1), encoder_mask
        decoder_ids[:, 0] = 2
    else:
        decoder_ids, decoder_mask = random_rows(1, [9, 4, 7], 9)
    return {
        "encoder_token_ids": encoder_ids,
        "encoder_padding_mask": encoder_mask,
        "decoder_token_ids": decoder_ids,
        "decoder_padding_mask": decoder_mask,
    }


def upstream_outputs(model, kind, inputs):
    arguments = {
        "input_ids": torch.tensor(inputs["encoder_token_ids"]).long(),
        "attention_mask": torch.tensor(inputs["encoder_padding_mask"]).long(),
    }
    # Their classifier makes the decoder's row itself.
    if kind != "classifier":
        arguments["decoder_input_ids"] = torch.tensor(inputs["decoder_token_ids"]).long()
        arguments["decoder_attention_mask"] = torch.tensor(inputs["decoder_padding_mask"]).long()
    with torch.no_grad():
        outputs = model(**arguments)
    if kind != "backbone":
        return {"logits": outputs.logits.numpy()}
    return {
        "encoder_sequence_output": outputs.encoder_last_hidden_state.numpy(),
        "decoder_sequence_output": outputs.last_hidden_state.numpy(),
    }


def our_outputs(model, inputs):
    outputs = model(inputs)
    outputs = outputs if isinstance(outputs, dict) else {"logits": outputs}
    return {name: keras.ops.convert_to_numpy(values) for name, values in outputs.items()}


def assert_close(ours, theirs, inputs):
    """Compares on tokens, relative to the largest number."""
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        expected = theirs[name]
        if values.ndim == 3:
            half = name.partition("_")[0] if name != "logits" else "decoder"
            is_token = inputs[f"{half}_padding_mask"].astype(bool)
            values, expected = values[is_token], expected[is_token]
        assert values.shape == expected.shape
        assert np.abs(values - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max()), name


def options(kind):
    return {} if kind == "backbone" else {"preprocessor": None}


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("name", CONFIGS)
def test_models_give_upstream_numbers_and_so_do_their_exports(tmp_path, name, kind):
    ours_cls, theirs_cls = CLASSES[kind]
    theirs = random_model(name, kind)
    theirs.save_pretrained(tmp_path / "theirs")
    inputs = inputs_for(kind)
    expected = upstream_outputs(theirs, kind, inputs)
    ours = ours_cls.from_preset(tmp_path / "theirs", **options(kind))
    assert_close(our_outputs(ours, inputs), expected, inputs)
    ours.export_to_transformers(tmp_path / "ours")
    again, report = theirs_cls.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert_close(upstream_outputs(again.eval(), kind, inputs), expected, inputs)
    ours.save_to_preset(tmp_path / "preset")
    restored = ours_cls.from_preset(tmp_path / "preset", **options(kind))
    assert_close(our_outputs(restored, inputs), expected, inputs)


def test_a_classifier_has_the_names_of_its_labels(tmp_path):
    random_model("plain", "classifier").save_pretrained(tmp_path)
    classifier = models.TextClassifier.from_preset(tmp_path, preprocessor=None)
    assert isinstance(classifier, models.BartTextClassifier)
    assert classifier.label_names == ["bad", "good", "so so"]


def test_a_pytorch_file_with_copies_of_the_embedding_is_read(tmp_path):
    theirs = random_model("distil", "seq2seq")
    theirs.config.save_pretrained(tmp_path)
    state = theirs.state_dict()
    assert {"model.encoder.embed_tokens.weight", "lm_head.weight"} <= state.keys()
    torch.save(state, tmp_path / "pytorch_model.bin")
    inputs = inputs_for("seq2seq")
    ours = models.Seq2SeqLM.from_preset(tmp_path, preprocessor=None)
    assert_close(our_outputs(ours, inputs), upstream_outputs(theirs, "seq2seq", inputs), inputs)


def test_a_bare_model_becomes_a_writer_without_a_warning(tmp_path):
    theirs = random_model("plain", "backbone")
    theirs.save_pretrained(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = models.Seq2SeqLM.from_preset(tmp_path, preprocessor=None)
    assert not ours.has_task_weights()


@pytest.mark.parametrize(
    "values", [{"normalize_before": True}, {"static_position_embeddings": True}, {"foo": 1}]
)
def test_other_architectures_of_that_name_are_refused(tmp_path, values):
    random_model("plain", "backbone").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **values}))
    with pytest.raises(PresetError, match=f"'{next(iter(values))}' is"):
        models.Backbone.from_preset(tmp_path)


def test_sizes_of_the_decoder_are_stored_only_where_they_differ(tmp_path):
    for name in ("plain", "distil"):
        random_model(name, "backbone").save_pretrained(tmp_path / name)
    plain, distil = (models.Backbone.from_preset(tmp_path / n) for n in ("plain", "distil"))
    assert (plain.num_decoder_layers, distil.num_decoder_layers) == (2, 1)
    assert "num_decoder_layers" not in plain.get_config()
    assert distil.get_config()["num_decoder_layers"] == 1
    assert "decoder_intermediate_dim" not in distil.get_config()
    message = "`num_decoder_heads` must divide `hidden_dim`, but 12 is not a multiple of 5"
    with pytest.raises(ConfigError, match=message):
        models.Backbone.from_preset(tmp_path / "plain", num_decoder_heads=5)
