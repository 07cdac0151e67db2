"""Dense layers that are faster than Keras's: the same names, and the same numbers."""

import keras
import numpy as np
import pytest
from keras import ops

from clozework import kernels
from clozework.kernels import products_with_rows
from clozework.layers import Dense, EinsumDense, TransformerEncoder, dense, turned_kernels

X = np.random.default_rng(0).normal(size=(2, 5, 3, 4)).astype("float32")
# Layer, and the shape of its input.
LAYERS = {
    "dense": (lambda module, **kwargs: module.Dense(6, activation="gelu", **kwargs), (10, 12)),
    "projection": (
        lambda module, **kwargs: module.EinsumDense(
            "abc,cde->abde", output_shape=(None, 3, 2), bias_axes="de", **kwargs
        ),
        (2, 5, 12),
    ),
    "output": (
        lambda module, **kwargs: module.EinsumDense(
            "abcd,cde->abe", output_shape=(None, 6), **kwargs
        ),
        (2, 5, 3, 4),
    ),
    "transposed": (
        lambda module, **kwargs: module.EinsumDense(
            "btd,kdh->btkh", output_shape=(None, 3, 2), **kwargs
        ),
        (2, 5, 12),
    ),
}


class Ours:
    """What stands in the place of `keras.layers`."""

    Dense, EinsumDense = Dense, EinsumDense


def both(name: str, **kwargs):
    """Returns Keras's layer, ours with the same weights, and an input."""
    make, shape = LAYERS[name]
    layers = [make(module, **kwargs) for module in (keras.layers, Ours)]
    for layer in layers:
        layer.build(shape)
    layers[1].set_weights([np.array(value) for value in layers[0].get_weights()])
    return *layers, X.reshape(shape)


def numbers(x) -> np.ndarray:
    return ops.convert_to_numpy(ops.cast(x, "float32"))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("flag", ["avx512_vnni", "avx512_bf16", "avx"])
def test_int8_gives_the_numbers_of_keras(name, flag, monkeypatch):
    monkeypatch.setattr(kernels, "_has_cpu_flag", lambda *names: flag in names)
    theirs, own, x = both(name)
    for layer in (theirs, own):
        layer.quantize("int8")
    assert "int8" in {str(value.dtype) for value in own.get_weights()}
    np.testing.assert_allclose(numbers(own(x)), numbers(theirs(x)), rtol=0, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="XLA's products of uint8")
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 3, 5), (2, 64, 2), (9, 770, 16), (257, 40, 33)])
def test_products_of_uint8_are_exact(shape):
    rows, summed, columns = shape
    generator = np.random.default_rng(0)
    x = generator.integers(-127, 128, (rows, summed)).astype("float32")
    kernel = generator.integers(-128, 128, (summed, columns)).astype("int8")
    product = kernels._product_of_uint8(ops.convert_to_tensor(x), ops.convert_to_tensor(kernel))
    np.testing.assert_array_equal(product, x.astype("int32") @ kernel.astype("int32"))


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="XLA's products of uint8")
def test_products_of_uint8_are_an_operation_of_jax():
    import jax
    import jax.export

    generator = np.random.default_rng(0)
    x = generator.integers(-127, 128, (3, 4, 8)).astype("float32")
    kernel = generator.integers(-128, 128, (8, 5)).astype("int8")
    product = kernels._product_of_uint8
    expected = x.astype("int32") @ kernel.astype("int32")
    np.testing.assert_array_equal(jax.vmap(product, in_axes=(0, None))(x, kernel), expected)
    rows = jax.ShapeDtypeStruct(jax.export.symbolic_shape("rows, 8"), "float32")
    exported = jax.export.export(jax.jit(product))(rows, kernel)
    np.testing.assert_array_equal(exported.call(x[0], kernel), expected[0])


@pytest.mark.parametrize("name", LAYERS)
def test_bfloat16_sums_in_float32(name):
    theirs, own, x = both(name, dtype="bfloat16")
    assert keras.backend.standardize_dtype(own(x).dtype) == "bfloat16"
    np.testing.assert_allclose(numbers(own(x)), numbers(theirs(x)), rtol=2**-7, atol=2**-7)


def gradients(function, *arrays) -> list[np.ndarray]:
    """Returns the gradients of a sum of squares."""
    if keras.backend.backend() == "torch":
        tensors = [ops.convert_to_tensor(x).detach().requires_grad_() for x in arrays]
        (function(*tensors).float() ** 2).sum().backward()
        return [numbers(x.grad.detach()) for x in tensors]
    import jax

    def loss(*tensors):
        return ops.sum(ops.cast(function(*tensors), "float32") ** 2)

    tensors = [ops.convert_to_tensor(x) for x in arrays]
    return [numbers(x) for x in jax.grad(loss, argnums=tuple(range(len(arrays))))(*tensors)]


def test_products_of_bfloat16_have_the_gradients_of_float32():
    x, y = X[0, :4], X[1, :4].swapaxes(1, 2)
    expected = gradients(lambda x, y: x @ y, x, y)
    halves = [ops.cast(array, "bfloat16") for array in (x, y)]
    for own, exact in zip(gradients(kernels.matmul, *halves), expected, strict=True):
        np.testing.assert_allclose(own, exact, rtol=0.05, atol=0.05)


def test_gradients_go_through_int8_as_in_keras():
    theirs, own, x = both("dense")
    for layer in (theirs, own):
        layer.quantize("int8")
    np.testing.assert_allclose(gradients(own, x)[0], gradients(theirs, x)[0], rtol=0, atol=1e-5)


def test_adapters_and_own_quantizers_are_computed_by_keras():
    theirs, own, x = both("dense")
    config = keras.quantizers.Int8QuantizationConfig(activation_quantizer=None)
    for layer in (theirs, own):
        layer.quantize("int8", config=config)
        layer.enable_lora(2)
    np.testing.assert_allclose(numbers(own(x)), numbers(theirs(x)), rtol=0, atol=1e-6)


def test_projections_of_keras_attention_are_ours():
    block = TransformerEncoder(intermediate_dim=8, num_heads=2)
    block.build((None, None, 4))
    kinds = {type(layer) for layer in block._flatten_layers() if layer.name in ("query", "value")}
    assert kinds == {EinsumDense}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_gelu_and_its_gradient_are_exact(dtype):
    torch = pytest.importorskip("torch")
    values = np.linspace(-12, 12, 4801)
    # What the dtype can hold, so that only the outputs are rounded.
    x = ops.cast(ops.convert_to_tensor(values.astype("float32")), dtype)
    wide = torch.from_numpy(ops.convert_to_numpy(ops.cast(x, "float32")).astype("float64"))
    wide.requires_grad_()
    expected = torch.nn.functional.gelu(wide)
    expected.sum().backward()
    outputs, slopes = value_and_slope(x)
    # Half a step of half floats, a few of them of float32.
    rounding = {"float32": 2e-7, "bfloat16": 2**-8, "float16": 2**-11}[dtype]
    for ours, theirs in ((outputs, expected.detach()), (slopes, wide.grad)):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=rounding, atol=1e-6)


def value_and_slope(x):
    """Returns GELU at x as our layers compute it, and its derivative, as arrays of float32."""

    def of_float32(values):
        return ops.convert_to_numpy(ops.cast(values, "float32"))

    if keras.backend.backend() == "jax":
        import jax

        outputs, backward = jax.vjp(lambda x: kernels.activate(keras.activations.gelu, x), x)
        return of_float32(outputs), of_float32(backward(ops.ones_like(outputs))[0])
    x = x.detach().requires_grad_()
    outputs = kernels.activate(keras.activations.gelu, x)
    outputs.sum().backward()
    return of_float32(outputs), of_float32(x.grad)


@pytest.fixture
def onednn(monkeypatch):
    """How many vectors oneDNN multiplied, each time that it was asked."""
    torch = pytest.importorskip("torch")
    asked, product = [], kernels.onednn_product

    def counted(x, *args, **kwargs):
        asked.append(x.numel() // x.shape[-1])
        return product(x, *args, **kwargs)

    for module in (kernels, dense):
        monkeypatch.setattr(module, "onednn_product", counted)
    with torch.no_grad():
        yield asked


ON_TORCH = pytest.mark.skipif(keras.backend.backend() != "torch", reason="an operation of PyTorch")


@ON_TORCH
@pytest.mark.parametrize("name", LAYERS)
def test_onednn_gives_the_numbers_of_keras(name, onednn):
    theirs, own, x = both(name)
    np.testing.assert_allclose(numbers(own(x)), numbers(theirs(x)), rtol=0, atol=1e-6)
    assert bool(onednn) == (name != "transposed")


@ON_TORCH
def test_onednn_multiplies_with_tables_and_matrices(onednn):
    x, table = ops.convert_to_tensor(X), ops.convert_to_tensor(X[0, :, 0])
    expected = X @ X[0, :, 0].T
    np.testing.assert_allclose(numbers(products_with_rows(x, table)), expected, atol=1e-6)
    np.testing.assert_allclose(
        numbers(kernels.matmul(x, ops.transpose(table))), expected, atol=1e-6
    )
    assert onednn == [30, 30]


@ON_TORCH
@pytest.mark.parametrize("name", ["dense", "projection"])
def test_onednn_multiplies_no_vectors(name, onednn):
    _, own, x = both(name)
    assert own(x[:0]).shape == (0, *own(x).shape[1:])
    assert onednn[0] == 0


@ON_TORCH
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_onednn_is_not_asked_for_half_floats(dtype, onednn):
    both("dense", dtype=dtype)[1](X.reshape(10, 12))
    assert not onednn


@ON_TORCH
def test_gradients_do_not_go_through_onednn(onednn):
    import torch

    theirs, own, x = both("projection")
    with torch.enable_grad():
        np.testing.assert_allclose(gradients(own, x)[0], gradients(theirs, x)[0], atol=1e-5)
    assert not onednn


@ON_TORCH
def test_onednn_is_in_no_exported_graph(onednn):
    import torch

    _, own, x = both("dense")
    program = torch.export.export(own, (ops.convert_to_tensor(x),), strict=False)
    assert "mkldnn" not in program.graph_module.code
    assert not onednn


def chain(dtype: str = "float32") -> keras.Model:
    """A model with each kind of dense layer, of inputs `(rows, tokens, 12)`."""
    inputs = keras.Input((None, 12))
    x = Dense(12, activation="gelu", dtype=dtype)(inputs)
    x = EinsumDense(
        "abc,cde->abde",
        output_shape=(None, 3, 4),
        bias_axes="de",
        bias_initializer="normal",
        dtype=dtype,
    )(x)
    x = EinsumDense("abcd,cde->abe", output_shape=(None, 6), dtype=dtype)(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize("num_vectors", [1, 2, 8, 100])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_turned_kernels_give_the_same_numbers(num_vectors, dtype):
    model = chain(dtype)
    x = np.random.default_rng(1).normal(size=(num_vectors, 1, 12))
    expected = numbers(model(x))
    with turned_kernels(model, num_vectors):
        result = numbers(model(x))
    tolerance = 1e-5 if dtype == "float32" else 2**-6
    np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


def test_kernels_are_read_by_rows_where_that_is_faster(monkeypatch):
    read = []
    monkeypatch.setattr(
        dense, "products_with_rows", lambda *tensors: read.append(1) or products_with_rows(*tensors)
    )
    model, x = chain(), np.ones((4, 1, 12))
    with turned_kernels(model, 4):
        model(x)
    model(x)
    assert len(read) == (3 if keras.backend.backend() == "jax" else 0)


@pytest.mark.parametrize("case", ["int8", "lora", "too large"])
def test_kernels_stay_as_they_are(case, monkeypatch):
    model, x = chain(), np.ones((4, 1, 12))
    layer = model.layers[1]
    if case == "int8":
        layer.quantize("int8")
    elif case == "lora":
        layer.enable_lora(2)
    else:
        monkeypatch.setattr(dense, "_MOST_TURNED", 10)
    expected = numbers(model(x))
    with turned_kernels(model, 4):
        assert dense._turned_kernel(layer) is None
        np.testing.assert_allclose(numbers(model(x)), expected, rtol=1e-5, atol=1e-5)
