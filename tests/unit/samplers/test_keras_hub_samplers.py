"""Samplers give the token ids that those of keras-hub 0.32.0 gave (tests/golden/samplers.json)."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from clozework import samplers
from tests.unit.samplers.toy_language import sampled

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "samplers.json").read_text())
# JAX and PyTorch draw different numbers from the same seed.
DRAWN = {name for name, golden in GOLDEN.items() if "seed" in golden["config"]}
NAMES = [name for name in GOLDEN if name not in DRAWN or keras.backend.backend() == "jax"]


@pytest.mark.parametrize("name", NAMES)
def test_samplers_give_keras_hubs_token_ids(name):
    golden = GOLDEN[name]
    outputs = sampled(samplers.deserialize(golden), golden["stop_token_ids"])
    ids, scores = outputs if "scores" in golden else (outputs, None)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(ids), golden["token_ids"])
    if scores is not None:
        scores = keras.ops.convert_to_numpy(scores)
        np.testing.assert_allclose(scores, golden["scores"], rtol=0, atol=1e-5)
