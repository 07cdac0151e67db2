"""Keras's dense layers, computed by the fastest products that the backend has."""

import contextlib
import math
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

import keras
from keras import ops

from clozework.backend import computed_once, custom_gradient
from clozework.kernels import (
    activate,
    einsum,
    int8_product,
    is_for_onednn,
    matmul,
    onednn_product,
    products_with_rows,
    reads_rows_faster,
)

__all__ = ["Dense", "EinsumDense", "turned_kernels"]

# Of kernels with more numbers there may be no room for a second copy.
_MOST_TURNED = 2**28
# Identity of a layer -> its kernel as a matrix `(output dim, input dim)`.
_TURNED: ContextVar[Mapping[int, Any] | None] = ContextVar("turned kernels", default=None)


# The classes have the names of Keras's, which are part of the format of stored weights.
@keras.saving.register_keras_serializable("clozework")
class Dense(keras.layers.Dense):
    """`keras.layers.Dense`, but faster: in int8, on JAX in bfloat16, on PyTorch without gradients.

    Arguments, call arguments, outputs and stored weights are the same.

    Example:
    >>> Dense(3)(np.ones((2, 5, 4))).shape
    (2, 5, 3)
    """

    def call(self, inputs, training=None):
        if (turned := _turned_kernel(self)) is not None:
            return _finished(self, products_with_rows(inputs, turned))
        kernel = ops.convert_to_tensor(self.kernel)
        if is_for_onednn(inputs, kernel):
            return _onednn_outputs(self, inputs, kernel, num_summed=1)
        return _finished(self, matmul(inputs, kernel))

    def _int8_call(self, inputs, training=None):
        if self.lora_enabled or not _rounds_as_usual(self):
            return super()._int8_call(inputs, training=training)
        return _int8_outputs(self, inputs, num_summed=1)

    def quantize(self, mode=None, type_check=True, config=None):
        # Keras leaves subclasses out, but this one is as good as its own.
        super().quantize(mode, type_check=False, config=config)


@keras.saving.register_keras_serializable("clozework")
class EinsumDense(keras.layers.EinsumDense):
    """`keras.layers.EinsumDense`, but faster; see `Dense`.

    Arguments, call arguments, outputs and stored weights are the same.

    Example:
    >>> EinsumDense("abc,cde->abde", output_shape=(None, 2, 3))(np.ones((2, 5, 4))).shape
    (2, 5, 2, 3)
    """

    def call(self, inputs, training=None):
        if (turned := _turned_kernel(self)) is not None:
            num_summed = _num_summed(self.equation)
            rows, columns = inputs.shape[:-num_summed], self.kernel.shape[num_summed:]
            inputs = ops.reshape(inputs, (math.prod(rows), -1))
            x = products_with_rows(inputs, turned)
            return _finished(self, ops.reshape(x, (*rows, *columns)))
        kernel = ops.convert_to_tensor(self.kernel)
        num_summed = _num_summed(self.equation)
        if num_summed and is_for_onednn(inputs, kernel):
            return _onednn_outputs(self, inputs, kernel, num_summed=num_summed)
        return _finished(self, einsum(self.equation, inputs, kernel))

    def _int8_call(self, inputs, training=None):
        num_summed = _num_summed(self.equation)
        if self.lora_enabled or not _rounds_as_usual(self) or not num_summed:
            return super()._int8_call(inputs, training=training)
        return _int8_outputs(self, inputs, num_summed=num_summed)

    def quantize(self, mode=None, type_check=True, config=None):
        # Keras leaves subclasses out, but this one is as good as its own.
        super().quantize(mode, type_check=False, config=config)


@contextlib.contextmanager
def turned_kernels(model, num_vectors: int):
    """Within it, the dense layers of a model read their kernels by rows, if that is faster.

    For a compiled loop that multiplies few vectors again and again: the kernels are turned around
    once, before it. Shapes of all inputs have to be known.

    Args:
        model: A model whose weights do not change meanwhile.
        num_vectors: How many vectors are multiplied at a time.

    Example:
    >>> model = keras.Sequential([keras.Input((4,)), Dense(3)])
    >>> with turned_kernels(model, num_vectors=2):
    ...     outputs = model(np.ones((2, 4)))
    >>> outputs.shape
    (2, 3)
    """
    layers = _layers_to_turn(model) if reads_rows_faster(num_vectors) else []
    token = _TURNED.set({id(layer): computed_once(_turned(layer)) for layer in layers})
    try:
        yield
    finally:
        _TURNED.reset(token)


def _turned_kernel(layer):
    """Returns what `turned_kernels` made of the kernel of a layer, or None."""
    return (_TURNED.get() or {}).get(id(layer))


def _layers_to_turn(model) -> list:
    """Returns the dense layers whose kernels are matrices of floats, or none if they are many."""
    layers = [
        layer
        for layer in model._flatten_layers(include_self=False)
        if isinstance(layer, Dense | EinsumDense)
        and layer.built
        and layer.quantization_mode is None
        and not layer.lora_enabled
        and _num_summed_by(layer)
    ]
    size = sum(math.prod(layer.kernel.shape) for layer in layers)
    return layers if size <= _MOST_TURNED else []


def _num_summed_by(layer) -> int:
    return 1 if isinstance(layer, Dense) else _num_summed(layer.equation)


def _turned(layer):
    """Returns the kernel of a layer as a matrix `(output dim, input dim)`, in what it computes."""
    num_summed = _num_summed_by(layer)
    kernel = ops.cast(layer.kernel, layer.compute_dtype)
    shape = (math.prod(kernel.shape[:num_summed]), -1)
    return ops.transpose(ops.reshape(kernel, shape))


def _finished(layer, x):
    if layer.bias is not None:
        x = ops.add(x, layer.bias)
    return x if layer.activation is None else activate(layer.activation, x)


def _onednn_outputs(layer, inputs, kernel, *, num_summed: int):
    """Returns the layer's outputs by one operation, for what `is_for_onednn`."""
    rows, columns = inputs.shape[:-num_summed], kernel.shape[num_summed:]
    matrix = kernel.reshape(-1, math.prod(columns))
    bias = None if layer.bias is None else ops.convert_to_tensor(layer.bias).reshape(-1)
    is_gelu = layer.activation is keras.activations.gelu
    vectors = inputs.reshape(math.prod(rows), matrix.shape[0])
    x = onednn_product(vectors, matrix, bias, with_gelu=is_gelu).reshape(*rows, *columns)
    return x if is_gelu or layer.activation is None else activate(layer.activation, x)


def _rounds_as_usual(layer) -> bool:
    """Whether each row of the inputs is rounded by its largest value, and no config says else."""
    usual, quantizer = keras.quantizers.AbsMaxQuantizer(), layer.inputs_quantizer
    return (
        type(quantizer) is type(usual)
        and tuple(quantizer.value_range) == tuple(usual.value_range)
        and quantizer.epsilon == usual.epsilon
    )


def _num_summed(equation: str) -> int:
    """Returns how many axes are summed: the last of the input and first of the kernel, else 0.

    >>> _num_summed("abcd,cde->abe"), _num_summed("btd,kdh->btkh")
    (2, 0)
    """
    operands, of_output = equation.split("->")
    of_input, of_kernel = operands.split(",")
    summed = "".join(axis for axis in of_input if axis in of_kernel)
    rows, columns = of_input.removesuffix(summed), of_kernel.removeprefix(summed)
    return len(summed) if of_output == rows + columns and rows + summed == of_input else 0


def _int8_outputs(layer, inputs, *, num_summed: int):
    """Returns the layer's outputs by a product of matrices; gradients as Keras computes them."""
    shape = (math.prod(layer._kernel.shape[:num_summed]), -1)
    of_rows, of_columns = ops.shape(inputs)[:-num_summed], layer._kernel.shape[num_summed:]

    @custom_gradient
    def product(x, kernel, scale, *bias):
        def gradients(*args, upstream=None):
            upstream = args[0] if upstream is None else upstream
            floats = ops.cast(kernel, upstream.dtype) / ops.cast(scale, upstream.dtype)
            of_bias = [ops.sum(upstream, axis=0)] if bias else []
            of_x = ops.cast(matmul(upstream, ops.transpose(floats)), x.dtype)
            return (of_x, None, None, *of_bias)

        return int8_product(x, kernel, scale, *bias), gradients

    bias = [] if layer.bias is None else [ops.reshape(layer.bias, (-1,))]
    x = product(
        ops.reshape(inputs, (-1, shape[0])),
        ops.reshape(layer._kernel, shape),
        ops.reshape(layer.kernel_scale, (-1,)),
        *bias,
    )
    x = ops.cast(ops.reshape(x, (*of_rows, *of_columns)), layer.compute_dtype)
    return x if layer.activation is None else activate(layer.activation, x)
