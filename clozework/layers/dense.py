"""Keras's dense layers, computed by the fastest products that the backend has."""

import math

import keras
from keras import ops

from clozework.kernels import activate, einsum, int8_product, matmul

__all__ = ["Dense", "EinsumDense"]


# The classes have the names of Keras's, which are part of the format of stored weights.
@keras.saving.register_keras_serializable("clozework")
class Dense(keras.layers.Dense):
    """`keras.layers.Dense`, but faster in bfloat16 on JAX, and in int8.

    Arguments, call arguments, outputs and stored weights are the same.

    Example:
    >>> Dense(3)(np.ones((2, 5, 4))).shape
    (2, 5, 3)
    """

    def call(self, inputs, training=None):
        return _finished(self, matmul(inputs, ops.convert_to_tensor(self.kernel)))

    def _int8_call(self, inputs, training=None):
        if self.lora_enabled or not _rounds_as_usual(self):
            return super()._int8_call(inputs, training=training)
        return _int8_outputs(self, inputs, num_summed=1)

    def quantize(self, mode=None, type_check=True, config=None):
        # Keras leaves subclasses out, but this one is as good as its own.
        super().quantize(mode, type_check=False, config=config)


@keras.saving.register_keras_serializable("clozework")
class EinsumDense(keras.layers.EinsumDense):
    """`keras.layers.EinsumDense`, but faster in bfloat16 on JAX, and in int8.

    Arguments, call arguments, outputs and stored weights are the same.

    Example:
    >>> EinsumDense("abc,cde->abde", output_shape=(None, 2, 3))(np.ones((2, 5, 4))).shape
    (2, 5, 2, 3)
    """

    def call(self, inputs, training=None):
        kernel = ops.convert_to_tensor(self.kernel)
        return _finished(self, einsum(self.equation, inputs, kernel))

    def _int8_call(self, inputs, training=None):
        num_summed = _num_summed(self.equation)
        if self.lora_enabled or not _rounds_as_usual(self) or num_summed is None:
            return super()._int8_call(inputs, training=training)
        return _int8_outputs(self, inputs, num_summed=num_summed)

    def quantize(self, mode=None, type_check=True, config=None):
        # Keras leaves subclasses out, but this one is as good as its own.
        super().quantize(mode, type_check=False, config=config)


def _finished(layer, x):
    if layer.bias is not None:
        x = ops.add(x, layer.bias)
    return x if layer.activation is None else activate(layer.activation, x)


def _rounds_as_usual(layer) -> bool:
    """Whether each row of the inputs is rounded by its largest value, and no config says else."""
    usual, quantizer = keras.quantizers.AbsMaxQuantizer(), layer.inputs_quantizer
    return (
        type(quantizer) is type(usual)
        and tuple(quantizer.value_range) == tuple(usual.value_range)
        and quantizer.epsilon == usual.epsilon
    )


def _num_summed(equation: str) -> int | None:
    """Returns how many axes are summed, if these are the last of the input and first of the kernel.

    >>> _num_summed("abcd,cde->abe"), _num_summed("btd,kdh->btkh")
    (2, None)
    """
    operands, of_output = equation.split("->")
    of_input, of_kernel = operands.split(",")
    summed = "".join(axis for axis in of_input if axis in of_kernel)
    rows, columns = of_input.removesuffix(summed), of_kernel.removeprefix(summed)
    return len(summed) if of_output == rows + columns and rows + summed == of_input else None


def _int8_outputs(layer, inputs, *, num_summed: int):
    """Returns the layer's outputs by a product of matrices; gradients as Keras computes them."""
    shape = (math.prod(layer._kernel.shape[:num_summed]), -1)
    of_rows, of_columns = ops.shape(inputs)[:-num_summed], layer._kernel.shape[num_summed:]

    @ops.custom_gradient
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
