"""Real checkpoints give the numbers of `transformers`; fetch them with `tests/real/fetch.py`."""

import shutil

import keras
import numpy as np
import pytest
import sentence_transformers
import torch
import transformers

from clozework import models
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
