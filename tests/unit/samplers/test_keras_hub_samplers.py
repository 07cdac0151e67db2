"""Samplers give the token ids that those of keras-hub 0.32.0 gave (tests/golden/samplers.json)."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from clozework import samplers
from tests.parity.toy_generator import until_stop
from tests.unit.samplers import toy_language as toy

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "samplers.json").read_text())
# JAX and PyTorch draw different numbers from the same seed.
DRAWN = {name for name, golden in GOLDEN.items() if "seed" in golden["config"]}
SPECULATED = {name for name, golden in GOLDEN.items() if "Speculative" in golden["class_name"]}
NAMES = [name for name in GOLDEN if name not in DRAWN or keras.backend.backend() == "jax"]
NAMES = [name for name in NAMES if name not in SPECULATED]


@pytest.mark.parametrize("name", NAMES)
def test_samplers_give_keras_hubs_token_ids(name):
    golden = GOLDEN[name]
    outputs = toy.sampled(samplers.deserialize(golden), golden["stop_token_ids"])
    ids, scores = outputs if "scores" in golden else (outputs, None)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(ids), golden["token_ids"])
    if scores is not None:
        scores = keras.ops.convert_to_numpy(scores)
        np.testing.assert_allclose(scores, golden["scores"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", sorted(SPECULATED))
def test_speculation_gives_keras_hubs_token_ids_up_to_the_end(name):
    golden = GOLDEN[name]
    stop_token_ids = golden["stop_token_ids"]
    # Of prompts of one length: KerasHub's writes over the longer ones.
    mask = np.broadcast_to(np.arange(toy.LENGTH) < toy.INDEX, toy.MASK.shape)
    ids = toy.speculated(samplers.deserialize(golden), stop_token_ids, mask)
    found, expected = (
        until_stop(keras.ops.convert_to_numpy(x), stop_token_ids or (), toy.INDEX)
        for x in (ids, np.array(golden["token_ids"]))
    )
    np.testing.assert_array_equal(found, expected)
