"""The vectors of sentence-transformers, to 1e-5: its directories loaded by us, ours by it."""

import json
import shutil

import numpy as np
import pytest
import sentence_transformers
import torch
import transformers
from sentence_transformers.sentence_transformer import modules

from clozework import models
from clozework.errors import ClozeworkWarning
from tests.contract.families import FAMILIES, TEXTS, tiny_task

FAMILY_NAMES = sorted(
    name for name, family in FAMILIES.items() if any(t.kind == "TextEmbedder" for t in family.tasks)
)
FULL_ROWS = {"padding": "max_length", "return_attention_mask": True}
POOLING = ["mean", "cls", "max", "lasttoken"]
# Of several lengths, so that rows are padded; with most vocabularies the last one is cut.
SENTENCES = [*TEXTS, "the fox", "quick quick brown dog and the earth and heaven and the lazy fox"]

pytestmark = pytest.mark.filterwarnings("ignore:.*are cut at:clozework.errors.ClozeworkWarning")


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """A directory of `transformers` with model and tokenizer, for each family."""
    root = tmp_path_factory.mktemp("encoders")
    for name in FAMILY_NAMES:
        task_cls = next(t for t in FAMILIES[name].tasks if t.kind == "TextEmbedder")
        tiny_task(task_cls).export_to_transformers(root / name)
        # Only encoder and tokenizer: what follows comes from sentence-transformers itself.
        for extra in ("modules.json", "config_sentence_transformers.json"):
            (root / name / extra).unlink()
    return root


def randomised(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.3)
    return module


def their_model(directory, pooling, *steps, max_length=16):
    # FNet computes on padding: its vectors are those of rows of one length.
    options = {"text": FULL_ROWS} if directory.name == "f_net" else {}
    transformer = modules.Transformer(
        str(directory), max_seq_length=max_length, processing_kwargs=options
    )
    width = transformer.get_embedding_dimension()
    pooled = modules.Pooling(width, pooling_mode=pooling)
    return sentence_transformers.SentenceTransformer(
        modules=[transformer, pooled, *steps], device="cpu"
    )


@pytest.mark.parametrize("pooling", POOLING)
@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_their_directory_gives_their_vectors(encoders, tmp_path, name, pooling):
    theirs = their_model(encoders / name, pooling, modules.Normalize())
    theirs.save(str(tmp_path / "theirs"))
    ours = models.TextEmbedder.from_preset(tmp_path / "theirs")
    assert (ours.pooling_mode, ours.normalize) == (pooling, True)
    assert ours.preprocessor.sequence_length == 16
    np.testing.assert_allclose(ours.embed(SENTENCES), theirs.encode(SENTENCES), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_our_export_gives_them_our_vectors(encoders, tmp_path, name):
    ours = models.TextEmbedder.from_preset(
        encoders / name,
        pooling_mode="max",
        normalize=False,
        sequence_length=16,
        prompts={"query": "the quick "},
    )
    ours.export_to_transformers(tmp_path / "ours")
    theirs = sentence_transformers.SentenceTransformer(str(tmp_path / "ours"), device="cpu")
    assert theirs.max_seq_length == 16
    for prompt in (None, "query"):
        expected = theirs.encode(SENTENCES, prompt_name=prompt)
        vectors = ours.embed(SENTENCES, prompt_name=prompt)
        np.testing.assert_allclose(vectors, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("has_bias", [True, False])
def test_dense_steps_and_prompts_are_those_of_theirs(encoders, tmp_path, has_bias):
    steps = [
        modules.Dense(8, 7, bias=has_bias),
        modules.Dense(7, 5, activation_function=torch.nn.Identity()),
        modules.Normalize(),
    ]
    theirs = their_model(encoders / "bert", "mean", *map(randomised, steps))
    theirs.prompts = {"query": "the fox ", "document": ""}
    theirs.default_prompt_name = "query"
    theirs.save(str(tmp_path / "theirs"))
    ours = models.TextEmbedder.from_preset(tmp_path / "theirs")
    assert [layer.use_bias for layer in ours.projections] == [has_bias, True]
    np.testing.assert_allclose(ours.embed(SENTENCES), theirs.encode(SENTENCES), rtol=0, atol=1e-5)
    ours.export_to_transformers(tmp_path / "ours")
    again = sentence_transformers.SentenceTransformer(str(tmp_path / "ours"), device="cpu")
    assert again.default_prompt_name == "query"
    np.testing.assert_allclose(again.encode(SENTENCES), ours.embed(SENTENCES), rtol=0, atol=1e-5)
    ours.save_to_preset(tmp_path / "preset")
    loaded = models.TextEmbedder.from_preset(tmp_path / "preset")
    np.testing.assert_array_equal(loaded.embed(SENTENCES), ours.embed(SENTENCES))
    assert loaded.default_prompt_name == "query"


def test_fewer_components_are_the_first_ones_at_length_one(encoders, tmp_path):
    theirs = their_model(encoders / "bert", "mean", modules.Normalize())
    theirs.save(str(tmp_path / "theirs"))
    ours = models.TextEmbedder.from_preset(tmp_path / "theirs")
    expected = theirs.encode(SENTENCES, truncate_dim=5, normalize_embeddings=True)
    vectors = ours.embed(SENTENCES, truncate_dim=5)
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-5)


def test_a_directory_without_their_steps_is_an_encoder_with_a_pooling(encoders):
    embedder = models.TextEmbedder.from_preset(encoders / "bert", pooling_mode="cls")
    backbone = transformers.AutoModel.from_pretrained(encoders / "bert").eval()
    arrays = embedder.preprocessor(SENTENCES)
    with torch.no_grad():
        vectors = backbone(
            input_ids=torch.tensor(arrays["token_ids"]).long(),
            attention_mask=torch.tensor(arrays["padding_mask"]).long(),
        ).last_hidden_state[:, 0]
    expected = torch.nn.functional.normalize(vectors, dim=-1).numpy()
    np.testing.assert_allclose(embedder.embed(SENTENCES), expected, rtol=0, atol=1e-5)


def test_vectors_that_would_depend_on_the_batch_are_warned_of(encoders, tmp_path):
    transformer = modules.Transformer(str(encoders / "f_net"), max_seq_length=16)
    theirs = sentence_transformers.SentenceTransformer(
        modules=[transformer, modules.Pooling(8)], device="cpu"
    )
    theirs.save(str(tmp_path / "theirs"))
    with pytest.warns(ClozeworkWarning, match="has no fixed length of rows: in sentence-tran"):
        ours = models.TextEmbedder.from_preset(tmp_path / "theirs")
    alone, together = ours.embed("the fox"), ours.embed(["the fox", SENTENCES[-1]])
    np.testing.assert_allclose(together[0], alone, rtol=0, atol=1e-6)


def test_a_directory_of_before_version_2_is_read(encoders, tmp_path):
    steps = randomised(modules.Dense(8, 6)), modules.Normalize()
    theirs = their_model(encoders / "bert", "cls", *steps)
    theirs.save(str(tmp_path / "theirs"))
    old, new = tmp_path / "old", tmp_path / "theirs"
    shutil.copytree(new, old / "0_Transformer", ignore=shutil.ignore_patterns("?_*", "modules*"))
    for folder in ("1_Pooling", "2_Dense", "3_Normalize"):
        shutil.copytree(new / folder, old / folder)
    listed = json.loads((new / "modules.json").read_text(encoding="utf-8"))
    listed[0]["path"] = "0_Transformer"
    (old / "modules.json").write_text(json.dumps(listed), encoding="utf-8")
    # All that there was at the top.
    (old / "config.json").write_text('{"__version__": "0.3.0"}', encoding="utf-8")
    ours = models.TextEmbedder.from_preset(old)
    np.testing.assert_allclose(ours.embed(SENTENCES), theirs.encode(SENTENCES), rtol=0, atol=1e-5)


def test_texts_are_cut_where_theirs_are(encoders, tmp_path):
    theirs = their_model(encoders / "bert", "mean", max_length=7)
    theirs.save(str(tmp_path / "theirs"))
    ours = models.TextEmbedder.from_preset(tmp_path / "theirs")
    assert ours.preprocessor.sequence_length == 7
    np.testing.assert_allclose(ours.embed(SENTENCES), theirs.encode(SENTENCES), rtol=0, atol=1e-5)
