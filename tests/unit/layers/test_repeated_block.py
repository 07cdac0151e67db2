"""Tests of blocks that are alike: a program of several is traced with one, and computes all."""

import keras
import numpy as np
import pytest

from clozework.backend import compiled_program, traced_alone
from clozework.layers import TransformerEncoder

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX traces programs")

X = np.random.default_rng(0).normal(size=(2, 5, 8)).astype("float32")
MASK = np.array([[1, 1, 1, 2, 2], [1, 1, 1, 0, 0]])


@pytest.fixture
def called(monkeypatch):
    """Names of the blocks whose `call` Python went through, one for each time."""
    names = []
    call = TransformerEncoder.call

    def recorded(self, inputs, padding_mask=None, attention_mask=None, training=None):
        names.append(self.name)
        return call(self, inputs, padding_mask, attention_mask, training)

    monkeypatch.setattr(TransformerEncoder, "call", recorded)
    return names


def block(number, **settings):
    """A built block whose weights depend on its number."""
    settings = {"intermediate_dim": 16, "num_heads": 2, **settings}
    made = TransformerEncoder(name=f"block_{number}", **settings)
    made.build(X.shape)
    generator = np.random.default_rng(number)
    for variable in made.trainable_variables:
        variable.assign(generator.normal(size=variable.shape))
    return made


def stacked(blocks, arrays):
    x = arrays["x"]
    for each in blocks:
        x = each(x, padding_mask=arrays["padding_mask"], training=False)
    return x


def program_of(blocks, open_axes=1):
    return compiled_program(
        lambda arrays: stacked(blocks, arrays),
        read=lambda: [variable for each in blocks for variable in each.variables],
        changed=lambda: (),
        open_axes=open_axes,
    )


def assert_computes(program, blocks, atol=1e-5):
    arrays = {"x": X, "padding_mask": MASK}
    outputs = keras.ops.convert_to_numpy(program(arrays)).astype("float32")
    expected = keras.ops.convert_to_numpy(stacked(blocks, arrays)).astype("float32")
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=atol)


def traced(called, program):
    """Returns the blocks that Python goes through for the program."""
    called.clear()
    program({"x": X, "padding_mask": MASK})
    return list(called)


def test_one_of_like_blocks_is_traced_and_all_of_them_are_computed(called):
    blocks = [block(number) for number in range(4)]
    program = program_of(blocks)
    assert traced(called, program) == ["block_0"]
    assert_computes(program, blocks)


def test_new_weights_are_computed_with():
    blocks = [block(number) for number in range(3)]
    program = program_of(blocks)
    assert_computes(program, blocks)
    for variable in blocks[1].trainable_variables:
        variable.assign(variable * 0.5 + 0.1)
    assert_computes(program, blocks)


@pytest.mark.parametrize(
    "settings",
    [
        {"activation": "gelu"},
        {"normalize_first": True},
        {"num_heads": 4},
        {"layer_norm_epsilon": 0.5},
        {"intermediate_dim": 24},
    ],
)
def test_blocks_with_other_settings_are_traced_for_themselves(called, settings):
    blocks = [block(0), block(1, **settings), block(2), block(3, **settings)]
    program = program_of(blocks)
    assert traced(called, program) == ["block_0", "block_1"]
    assert_computes(program, blocks)


def test_blocks_in_another_precision_are_traced_for_themselves(called):
    blocks = [block(0), block(1), block(2)]
    blocks[1]._feedforward_output_dense.quantize("int8")
    program = program_of(blocks)
    assert traced(called, program) == ["block_0", "block_1"]
    assert_computes(program, blocks)


def test_blocks_with_adapters_are_traced_for_themselves(called):
    blocks = [block(0), block(1), block(2)]
    blocks[2]._feedforward_output_dense.enable_lora(2)
    program = program_of(blocks)
    assert traced(called, program) == ["block_0", "block_2"]
    assert_computes(program, blocks)


def test_variables_that_are_rounded_for_the_products_are_handed_over_as_they_are(called):
    blocks = [block(number, dtype="mixed_bfloat16") for number in range(3)]
    program = program_of(blocks)
    # Once for inputs in float32, and once for those of the second and the third.
    assert traced(called, program) == ["block_0", "block_0"]
    # As far apart as one rounding of bfloat16 more or less.
    assert_computes(program, blocks, atol=0.05)


def test_a_block_with_something_of_its_own_is_traced_for_itself(called):
    blocks = [block(number) for number in range(3)]
    program = program_of(blocks)
    with traced_alone(blocks[1]):
        assert traced(called, program) == ["block_0", "block_1"]
        assert_computes(program, blocks)


def test_programs_that_change_something_trace_all_blocks(called):
    blocks = [block(number) for number in range(3)]
    program = program_of(blocks, open_axes=0)
    assert traced(called, program) == ["block_0", "block_1", "block_2"]


def test_outside_of_programs_each_block_is_called(called):
    blocks = [block(number) for number in range(2)]
    stacked(blocks, {"x": X, "padding_mask": MASK})
    assert called == ["block_0", "block_1"]
