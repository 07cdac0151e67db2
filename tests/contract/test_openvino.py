"""OpenVINO as the backend computes what the others do, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from clozework import models
from tests.contract.families import FAMILIES, tiny_backbone, tiny_task
from tests.contract.predicted import predicted

ROOT = Path(__file__).parents[2]
PROMPTS = ["the quick", "heaven and earth and the quick", "a"]
TEXTS = ["the quick brown fox", "heaven", "a b c d"]
SCRIPT = """
import sys
import numpy as np
from clozework import models, samplers
from clozework.errors import ConfigError
import keras
directory, prompts, texts = sys.argv[1], {prompts!r}, {texts!r}
classifier = models.TextClassifier.from_preset(directory + "/classifier")
# Its scores depend on the length of rows.
deberta = models.TextClassifier.from_preset(directory + "/deberta")
inputs = classifier.preprocessor(texts)
causal_lm = models.CausalLM.from_preset(directory + "/causal_lm")
generated = []
for sampler in ("greedy", samplers.BeamSampler(2)):
    causal_lm.compile(sampler=sampler)
    generated += causal_lm.generate(prompts, max_length=14, stop_token_ids=None)
refused = []
can_train = keras.backend.backend() != "openvino"
for train in () if can_train else (classifier.fit, classifier.train_on_batch):
    try:
        train(texts, [0, 1, 2])
    except ConfigError as error:
        refused.append(str(error))
half = models.TextClassifier.from_preset(directory + "/classifier", dtype="bfloat16")
np.savez(
    directory + "/results.npz",
    backend=keras.backend.backend(),
    logits=keras.ops.convert_to_numpy(classifier(inputs)),
    classes=[found[0].label for found in classifier.classify(texts)],
    evaluated=[model.evaluate(texts, [0, 1, 2], verbose=0) for model in (classifier, deberta)],
    generated=generated,
    refused=refused,
    half_weights=np.asarray(half.backbone.token_embedding.get_weights()[0]).astype("float32"),
    half_logits=np.asarray(half.predict(texts, verbose=0)).astype("float32"),
)
"""


def results_of(directory, backend):
    """Returns what the script finds on a backend."""
    script = SCRIPT.format(prompts=PROMPTS, texts=TEXTS)
    return results_of_command(["-c", script, str(directory)], directory, backend)


def results_of_command(arguments, directory, backend):
    """Returns the arrays that a command of Python writes on a backend."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", *arguments],
        cwd=ROOT,
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
    tiny_task(models.DebertaV3TextClassifier).save_to_preset(tmp_path / "deberta")
    expected = results_of(tmp_path, keras.backend.backend())
    found = results_of(tmp_path, "openvino")
    assert found["backend"] == "openvino"
    np.testing.assert_allclose(found["logits"], expected["logits"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["evaluated"], expected["evaluated"], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found["classes"], expected["classes"])
    np.testing.assert_array_equal(found["generated"], expected["generated"])
    assert len(found["refused"]) == 2
    assert all(
        "'openvino' computes answers but trains nothing" in told for told in found["refused"]
    )
    np.testing.assert_array_equal(found["half_weights"], expected["half_weights"])
    # The sums of bfloat16 are rounded at other places.
    np.testing.assert_allclose(found["half_logits"], expected["half_logits"], rtol=0, atol=0.03)


@pytest.mark.slow  # A process of its own, and many small models to compile.
def test_openvino_predicts_for_all_families_what_other_backends_predict(tmp_path):
    expected = predicted()
    command = ["-m", "tests.contract.predicted", str(tmp_path / "results.npz")]
    found = results_of_command(command, tmp_path, "openvino")
    assert found.pop("backend") == "openvino"
    assert found.keys() == expected.keys() - {"backend"}
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-5, atol=1e-5, err_msg=name)
