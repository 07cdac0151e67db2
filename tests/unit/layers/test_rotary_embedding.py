"""Rotations by position: KerasHub's numbers, and what they promise to attention."""

import json
from pathlib import Path

import numpy as np
import pytest

from clozework.errors import ConfigError, InputError
from clozework.layers import RotaryEmbedding
from tests.unit.layers.references import numpy

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "rotary_embedding.json").read_text())
INPUTS = np.array(GOLDEN["inputs"], "float32")[None]


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: str(case["config"]))
def test_rotations_are_those_of_keras_hub(case):
    rotated = numpy(RotaryEmbedding(**case["config"])(INPUTS, start_index=3))
    np.testing.assert_allclose(rotated[0], case["outputs"], rtol=0, atol=1e-5)


def test_positions_can_be_said_and_axes_chosen():
    layer = RotaryEmbedding()
    expected = numpy(layer(INPUTS, start_index=2))
    for positions in (np.arange(2, 7), np.arange(2, 7)[None]):
        np.testing.assert_allclose(numpy(layer(INPUTS, positions=positions)), expected, atol=1e-6)
    turned = RotaryEmbedding(sequence_axis=-1, feature_axis=1)
    again = numpy(turned(INPUTS.swapaxes(1, 2), start_index=2)).swapaxes(1, 2)
    np.testing.assert_allclose(again, expected, rtol=0, atol=1e-6)


def test_products_depend_on_the_distance_alone():
    layer = RotaryEmbedding()
    for shift in (0, 5):
        x = numpy(layer(INPUTS[:, :1].repeat(4, axis=1), start_index=shift))[0]
        products = x @ x.T
        np.testing.assert_allclose(np.diag(products, 1), products[0, 1], rtol=1e-4)


def test_half_floats_keep_far_positions_apart():
    layer = RotaryEmbedding(dtype="float16")
    far = numpy(layer(INPUTS.astype("float16"), start_index=60_000)).astype("float32")
    expected = numpy(RotaryEmbedding()(INPUTS, start_index=60_000))
    np.testing.assert_allclose(far, expected, rtol=0, atol=1e-2)


def test_what_cannot_be_rotated_is_refused():
    with pytest.raises(ConfigError, match="`rope_type` must be one of linear, dynamic, yarn"):
        RotaryEmbedding(rope_type="llama3")
    with pytest.raises(InputError, match="rotates pairs of features; their number must be even"):
        RotaryEmbedding()(INPUTS[..., :7])
    with pytest.raises(InputError, match="needs tokens on axis 4 and features on axis -1"):
        RotaryEmbedding(sequence_axis=4)(INPUTS)
