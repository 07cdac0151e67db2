"""Tests of blocks that are alike: a program of several is traced with one, and computes all."""

from functools import partial

import jax
import keras
import numpy as np
import pytest

from clozework.backend import shared_traces
from clozework.layers import TransformerEncoder
from clozework.traced_layers import traced_alone

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


def stacked(blocks, x, training=False):
    for each in blocks:
        x = each(x, padding_mask=MASK, training=training)
    return x


def stacked_in_a_program(blocks, x, training=False):
    with shared_traces():
        return stacked(blocks, x, training)


def variables_of(blocks):
    return [variable for each in blocks for variable in each.variables]


def program_of(blocks, function=stacked_in_a_program):
    """Returns the blocks as a function of their input, which JAX compiles."""

    @jax.jit
    def outputs(values, x):
        pairs = list(zip(variables_of(blocks), values, strict=True))
        with keras.StatelessScope(state_mapping=pairs):
            return function(blocks, x)

    return lambda x: outputs([variable.value for variable in variables_of(blocks)], x)


def trained(blocks, function):
    """Returns outputs and gradients of a step of training, and all variables' values after it."""

    def loss(values, x):
        pairs = list(zip(variables_of(blocks), values, strict=True))
        with keras.StatelessScope(state_mapping=pairs) as scope:
            outputs = function(blocks, x, training=True)
        after = [scope.get_current_value(variable) for variable in variables_of(blocks)]
        return keras.ops.sum(outputs * outputs[::-1]), (outputs, after)

    values = [variable.value for variable in variables_of(blocks)]
    gradients = jax.grad(loss, argnums=(0, 1), has_aux=True, allow_int=True)
    (of_values, of_x), auxiliary = jax.jit(gradients)(values, X)
    floats = [g for g, v in zip(of_values, values, strict=True) if g.dtype == v.dtype]
    return floats, of_x, auxiliary


def assert_computes(program, blocks, atol=1e-5):
    outputs = np.asarray(program(X)).astype("float32")
    expected = np.asarray(stacked(blocks, X)).astype("float32")
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=atol)


def traced(called, program):
    """Returns the blocks that Python goes through for the program."""
    called.clear()
    program(X)
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


def test_functions_of_one_name_are_traced_for_themselves(called):
    def scaled(factor):
        def activation(x):
            return factor * x

        return activation

    blocks = [block(0, activation=scaled(1.0)), block(1, activation=scaled(5.0))]
    program = program_of(blocks)
    assert traced(called, program) == ["block_0", "block_1"]
    assert_computes(program, blocks)


def test_a_function_that_blocks_share_does_not_part_them(called):
    blocks = [block(number, activation=keras.ops.sin) for number in range(2)]
    program = program_of(blocks)
    assert traced(called, program) == ["block_0"]
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


def test_training_gives_what_it_gives_where_each_block_is_traced(called):
    blocks = [block(number, dropout=0.5) for number in range(3)]
    expected = trained(blocks, stacked)
    assert called == ["block_0", "block_1", "block_2"]
    called.clear()
    actual = trained(blocks, stacked_in_a_program)
    assert called == ["block_0"]
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5), actual, expected)


def test_random_numbers_go_on_in_each_block():
    blocks = [block(number, dropout=0.5) for number in range(3)]
    before = [variable.value for variable in variables_of(blocks)]
    after = trained(blocks, stacked_in_a_program)[2][1]
    names = [variable.path for variable in variables_of(blocks)]
    changed = {
        name for name, old, new in zip(names, before, after, strict=True) if np.any(old != new)
    }
    assert changed == {name for name in names if "seed_generator" in name}


def test_outside_of_the_context_all_blocks_are_traced(called):
    blocks = [block(number) for number in range(3)]
    assert traced(called, program_of(blocks, stacked)) == ["block_0", "block_1", "block_2"]


def test_what_is_not_compiled_is_called_block_by_block(called):
    stacked_in_a_program([block(number) for number in range(2)], X)
    assert called == ["block_0", "block_1"]
