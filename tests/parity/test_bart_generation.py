"""What BART generates against `transformers`: the same token ids, and the settings both ways."""

import json

import numpy as np
import pytest
import torch
import transformers

from clozework import models, samplers
from tests.parity.test_bart import random_model, random_rows
from tests.parity.test_exported_tokenizers import byte_pair

LENGTH = 16
ROWS = 24
MANY_ROWS = 200
SPECIALS = {"decoder_start_token_id": 2, "eos_token_id": 2, "pad_token_id": 1, "bos_token_id": 0}
SETTINGS = {
    "greedy": {"max_length": LENGTH},
    "greedy with processing": {
        "max_length": LENGTH,
        "repetition_penalty": 1.4,
        "no_repeat_ngram_size": 2,
        "min_length": 9,
        "forced_bos_token_id": 0,
        "forced_eos_token_id": 2,
    },
    "beams": {"max_length": LENGTH, "num_beams": 3},
    # Those of `facebook/bart-large-cnn`, with its lengths scaled down.
    "summaries": {
        "max_length": LENGTH,
        "min_length": 7,
        "num_beams": 4,
        "length_penalty": 2.0,
        "early_stopping": True,
        "no_repeat_ngram_size": 3,
        "forced_bos_token_id": 0,
        "forced_eos_token_id": 2,
    },
}


# What checkpoints of BART and DistilBART from 2020 say besides.
OLDER_CONFIG = {
    "_num_labels": 3,
    "add_bias_logits": False,
    "add_final_layer_norm": False,
    "classif_dropout": 0.0,
    "extra_pos_embeddings": 2,
    "force_bos_token_to_be_generated": True,
    "gradient_checkpointing": False,
    "normalize_before": False,
    "normalize_embedding": True,
    "num_hidden_layers": 3,
    "output_past": True,
    "prefix": " ",
    "replacing_rate": 0,
    "save_step": 58,
    "static_position_embeddings": False,
    "student_decoder_layers": None,
    "student_encoder_layers": None,
    "task_specific_params": {"summarization": {"num_beams": 6}},
}


def random_texts(rows):
    lengths = np.random.default_rng(4).integers(2, 13, rows)
    return random_rows(5, lengths, 12)


@pytest.fixture(scope="module")
def texts():
    """Ids and mask of texts for the encoder."""
    return random_texts(ROWS)


def saved(directory, settings, name="distil"):
    theirs = random_model(name, "seq2seq", forced_eos_token_id=None)
    # So that texts differ, and some end before the others.
    for key, parameter in theirs.named_parameters():
        if "encoder_attn." in key or "shared" in key:
            parameter.data *= 3.0
    theirs.final_logits_bias[0, 2] += 3.0
    theirs.generation_config = transformers.GenerationConfig(
        do_sample=False, **SPECIALS, **settings
    )
    theirs.save_pretrained(directory)
    return theirs


def upstream_ids(theirs, texts):
    ids, mask = (torch.tensor(array).long() for array in texts)
    generated = theirs.generate(ids, attention_mask=mask).numpy()
    return np.pad(generated, ((0, 0), (0, LENGTH - generated.shape[1])), constant_values=1)


def our_inputs(texts):
    """The decoder's rows hold the first token, with room for the rest."""
    token_ids = np.full((len(texts[0]), LENGTH), 1, "int32")
    token_ids[:, 0] = 2
    return {
        "encoder_token_ids": texts[0],
        "encoder_padding_mask": texts[1],
        "decoder_token_ids": token_ids,
        "decoder_padding_mask": (token_ids == 2).astype("int32"),
    }


def generated_ids(ours, texts):
    outputs = ours.generate(our_inputs(texts), stop_token_ids=[2])
    return np.where(outputs["decoder_padding_mask"], outputs["decoder_token_ids"], 1)


@pytest.mark.parametrize("name", SETTINGS)
def test_stored_settings_give_upstream_ids_and_survive(tmp_path, name):
    texts = random_texts(MANY_ROWS if name in ("greedy", "beams") else ROWS)
    theirs = saved(tmp_path / "theirs", SETTINGS[name])
    expected = upstream_ids(theirs, texts)
    assert len({row.tolist().count(1) for row in expected}) > 1
    ours = models.Seq2SeqLM.from_preset(tmp_path / "theirs", preprocessor=None)
    np.testing.assert_array_equal(generated_ids(ours, texts), expected)
    ours.export_to_transformers(tmp_path / "ours")
    again = transformers.BartForConditionalGeneration.from_pretrained(tmp_path / "ours")
    for option, value in SETTINGS[name].items():
        assert getattr(again.generation_config, option) == value
    np.testing.assert_array_equal(upstream_ids(again, texts), expected)
    ours.save_to_preset(tmp_path / "preset")
    assert "generation_settings" not in (tmp_path / "preset" / "task.json").read_text()
    restored = models.Seq2SeqLM.from_preset(tmp_path / "preset", preprocessor=None)
    assert restored.generation_settings == ours.generation_settings
    assert type(restored.sampler) is type(ours.sampler)


def test_a_sampler_of_the_users_own_counts_before_the_settings(tmp_path, texts):
    saved(tmp_path / "beams", SETTINGS["summaries"])
    greedy = saved(tmp_path / "greedy", SETTINGS["greedy"])
    ours = models.Seq2SeqLM.from_preset(tmp_path / "beams", preprocessor=None)
    assert isinstance(ours.sampler, samplers.BeamSampler)
    ours.compile(sampler="greedy")
    np.testing.assert_array_equal(generated_ids(ours, texts), upstream_ids(greedy, texts))


def test_settings_of_an_older_config_are_read(tmp_path, texts):
    theirs = saved(tmp_path, SETTINGS["summaries"])
    expected = upstream_ids(theirs, texts)
    (tmp_path / "generation_config.json").unlink()
    config = json.loads((tmp_path / "config.json").read_text())
    older = {k: v for k, v in SETTINGS["summaries"].items() if k != "forced_bos_token_id"}
    config.update(**older, **OLDER_CONFIG)
    (tmp_path / "config.json").write_text(json.dumps(config))
    ours = models.Seq2SeqLM.from_preset(tmp_path, preprocessor=None)
    assert ours.generation_settings.forced_bos_token_id == 0
    np.testing.assert_array_equal(generated_ids(ours, texts), expected)


def test_strings_give_upstream_strings(tmp_path):
    tokenizer = models.BartTokenizer(*byte_pair())
    theirs = random_model("plain", "seq2seq", vocab_size=tokenizer.vocabulary_size())
    theirs.generation_config = transformers.GenerationConfig(
        **SPECIALS, max_length=LENGTH, num_beams=2, no_repeat_ngram_size=2, forced_bos_token_id=0
    )
    theirs.save_pretrained(tmp_path)
    for file, name in (("vocabulary.json", "vocab.json"), ("merges.txt", "merges.txt")):
        tokenizer.save_assets(tmp_path)
        (tmp_path / file).rename(tmp_path / name)
    ours = models.Seq2SeqLM.from_preset(tmp_path, encoder_sequence_length=24)
    upstream = transformers.BartTokenizer.from_pretrained(tmp_path)
    texts = ["the quick fox", "a", "", "café and 12 foxes"]
    rows = upstream(texts, padding=True, return_tensors="pt")
    ids = theirs.generate(**rows)
    expected = upstream.batch_decode(
        ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    assert ours.generate(texts) == expected
    summaries = [
        text.strip() if source else "" for text, source in zip(expected, texts, strict=True)
    ]
    assert ours.summarize(texts) == summaries
