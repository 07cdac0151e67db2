"""OpenVINO as the backend computes what the others do, in a process of its own."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from clozework import models
from tests.contract.families import FAMILIES, tiny_backbone, tiny_task

PROMPTS = ["the quick", "heaven and earth and the quick", "a"]
TEXTS = ["the quick brown fox", "heaven", "a b c d"]
SCRIPT = """
import sys
import numpy as np
from clozework import models, samplers
import keras
directory, prompts, texts = sys.argv[1], {prompts!r}, {texts!r}
classifier = models.TextClassifier.from_preset(directory + "/classifier")
inputs = classifier.preprocessor(texts)
causal_lm = models.CausalLM.from_preset(directory + "/causal_lm")
generated = []
for sampler in ("greedy", samplers.BeamSampler(2)):
    causal_lm.compile(sampler=sampler)
    generated += causal_lm.generate(prompts, max_length=14, stop_token_ids=None)
np.savez(
    directory + "/results.npz",
    backend=keras.backend.backend(),
    logits=keras.ops.convert_to_numpy(classifier(inputs)),
    classes=[found[0].label for found in classifier.classify(texts)],
    generated=generated,
)
"""


def results_of(directory, backend):
    """Returns what the script finds on a backend."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT.format(prompts=PROMPTS, texts=TEXTS)]
        + [str(directory)],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    with np.load(directory / "results.npz") as results:
        return dict(results)


@pytest.mark.slow  # A process that imports Keras and compiles for each backend.
def test_openvino_gives_what_other_backends_give(tmp_path):
    backbone = tiny_backbone(FAMILIES["gemma"], num_layers=1)
    tiny_task(models.GemmaCausalLM, backbone=backbone).save_to_preset(tmp_path / "causal_lm")
    tiny_task(models.RobertaTextClassifier).save_to_preset(tmp_path / "classifier")
    expected = results_of(tmp_path, keras.backend.backend())
    found = results_of(tmp_path, "openvino")
    assert found["backend"] == "openvino"
    np.testing.assert_allclose(found["logits"], expected["logits"], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found["classes"], expected["classes"])
    np.testing.assert_array_equal(found["generated"], expected["generated"])
