from dataclasses import replace

import numpy as np
import pytest

from clozework.errors import WeightsError
from clozework.presets import Computed, HeadsFirst, Layer, WeightMap
from clozework.presets.stored_tensors import StoredTensor

WIDTH, HEADS, HEAD_DIM = 4, 2, 2
MAP = WeightMap(
    rows=(
        Layer("block_{i}/attention/query", "layer.{i}.q"),
        Layer("block_{i}/attention/attention_output", ("layer.{i}.o", "layer.{i}.out")),
        Layer("block_{i}/dense", "layer.{i}.fc"),
        Layer("norm", "LayerNorm"),
        Layer("pooled", "pooler", is_optional=True),
        Computed(
            "positions/embeddings",
            needs=("positions.weight",),
            read_values=lambda rows: rows[2:],
            write_values=lambda rows: (np.concatenate([np.zeros_like(rows[:2]), rows]),),
        ),
    ),
    unused=("position_ids", "head.*"),
)
SHAPES = {
    "block_0/attention/query/kernel": (WIDTH, HEADS, HEAD_DIM),
    "block_0/attention/query/bias": (HEADS, HEAD_DIM),
    "block_0/attention/attention_output/kernel": (HEADS, HEAD_DIM, WIDTH),
    "block_0/dense/kernel": (WIDTH, 6),
    "norm/gamma": (WIDTH,),
    "norm/beta": (WIDTH,),
    "positions/embeddings": (3, WIDTH),
}


@pytest.fixture
def tensors():
    generator = np.random.default_rng(0)
    shapes = {
        "layer.0.q.weight": (WIDTH, WIDTH),
        "layer.0.q.bias": (WIDTH,),
        "layer.0.o.weight": (WIDTH, WIDTH),
        "layer.0.fc.weight": (6, WIDTH),
        "LayerNorm.weight": (WIDTH,),
        "LayerNorm.bias": (WIDTH,),
        "positions.weight": (5, WIDTH),
        "position_ids": (1, 5),
        "head.anything.weight": (2,),
    }
    return {name: generator.normal(size=shape) for name, shape in shapes.items()}


def read(tensors, shapes=SHAPES, table=MAP):
    readers = table.read(shapes, stored(tensors), "'a checkpoint'")
    return {path: read_value() for path, read_value in readers.items()}


def stored(tensors):
    return {
        name: StoredTensor(value.shape, value.dtype, "model.safetensors", lambda value=value: value)
        for name, value in tensors.items()
    }


def test_kernels_compute_what_pytorch_computes(tensors):
    values = read(tensors)
    x = np.random.default_rng(1).normal(size=(3, WIDTH))
    query = np.einsum("bd,dhk->bhk", x, values["block_0/attention/query/kernel"])
    np.testing.assert_allclose(query.reshape(3, WIDTH), x @ tensors["layer.0.q.weight"].T)
    heads = x.reshape(3, HEADS, HEAD_DIM)
    kernel = values["block_0/attention/attention_output/kernel"]
    np.testing.assert_allclose(
        np.einsum("bhk,hkd->bd", heads, kernel), x @ tensors["layer.0.o.weight"].T
    )
    np.testing.assert_allclose(
        x @ values["block_0/dense/kernel"], x @ tensors["layer.0.fc.weight"].T
    )


def test_writing_is_reading_backwards(tensors):
    written = MAP.write(read(tensors))
    for name in ("layer.0.q.weight", "layer.0.o.weight", "layer.0.fc.weight", "LayerNorm.bias"):
        np.testing.assert_array_equal(written[name], tensors[name])
    np.testing.assert_array_equal(written["positions.weight"][2:], tensors["positions.weight"][2:])


def test_names_of_old_and_of_other_checkpoints_are_found(tensors):
    expected = read(tensors)
    tensors["LayerNorm.gamma"] = tensors.pop("LayerNorm.weight")
    tensors["LayerNorm.beta"] = tensors.pop("LayerNorm.bias")
    tensors["layer.0.out.weight"] = tensors.pop("layer.0.o.weight")
    for path, value in read(tensors).items():
        np.testing.assert_array_equal(value, expected[path])


def test_optional_layers_may_be_absent(tensors):
    assert "pooled/kernel" not in read(tensors, {**SHAPES, "pooled/kernel": (WIDTH, WIDTH)})


def test_one_error_lists_every_misfit(tensors):
    del tensors["layer.0.q.bias"]
    tensors["layer.0.extra.weight"] = np.zeros(1)
    tensors["layer.0.fc.weight"] = tensors["layer.0.fc.weight"].T
    with pytest.raises(WeightsError, match="4 misfits") as caught:
        read(tensors, {**SHAPES, "unknown/kernel": (1, 1)})
    message = str(caught.value)
    assert (
        "'block_0/attention/query/bias' needs tensor 'layer.0.q.bias', which is absent" in message
    )
    assert "tensor 'layer.0.extra.weight' is not used" in message
    assert (
        "'layer.0.fc.weight' for variable 'block_0/dense/kernel' is (4, 6), not (6, 4)" in message
    )
    assert "variable 'unknown/kernel' is in no row" in message


def test_what_only_has_to_fit_is_not_read_before_it_is_asked_for(tensors):
    def refuse():
        raise AssertionError("read before it was asked for")

    unread = {name: replace(tensor, read=refuse) for name, tensor in stored(tensors).items()}
    computed = {"positions.weight": stored(tensors)["positions.weight"]}
    readers = MAP.read(SHAPES, {**unread, **computed}, "'a checkpoint'")
    assert readers.keys() == SHAPES.keys()


def test_variables_without_a_row_cannot_be_written():
    with pytest.raises(WeightsError, match="'unknown/kernel' has no place"):
        MAP.write({"unknown/kernel": np.zeros((1, 1))})


def test_the_module_of_a_kernel():
    found = MAP.layer_of("block_3/attention/query/kernel")
    assert found is not None
    assert found[1] == "layer.3.q"
    assert MAP.layer_of("positions/embeddings") is None
    assert MAP.layer_of("unknown/kernel") is None


def test_kernels_with_heads_first_compute_what_pytorch_computes():
    table = WeightMap(rows=(HeadsFirst("block_{i}/query", "layer.{i}.q"),))
    shapes = {"block_0/query/kernel": (HEADS, WIDTH, 3)}
    theirs = np.random.default_rng(0).normal(size=(HEADS * 3, WIDTH))
    values = read({"layer.0.q.weight": theirs}, shapes, table)
    x = np.random.default_rng(1).normal(size=(5, WIDTH))
    query = np.einsum("bd,hdk->bhk", x, values["block_0/query/kernel"])
    np.testing.assert_allclose(query.reshape(5, HEADS * 3), x @ theirs.T)
    written = table.write(values)
    np.testing.assert_array_equal(written["layer.0.q.weight"], theirs)
    with pytest.raises(WeightsError, match=r"is \(4, 6\), not \(6, 4\)"):
        read({"layer.0.q.weight": theirs.T}, shapes, table)
