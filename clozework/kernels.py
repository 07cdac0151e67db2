"""Products, attention, dropout and GELU, as each backend computes them the fastest."""

import functools
import math
from pathlib import Path

__all__ = [
    "activate",
    "computed_in_parts",
    "dropout",
    "einsum",
    "fused_attention",
    "int8_product",
    "is_for_onednn",
    "lowest_score",
    "matmul",
    "onednn_product",
    "products_with_rows",
    "reads_rows_faster",
]

# A batch of products with so many numbers each is computed in at most so many parts. Of larger
# products XLA divides each among the cores, and tiny ones are done before that is worth it.
_MOST_PARTS = 4
_SMALL_MATRICES = range(32 * 32, 256 * 256 + 1)
# So many vectors at once are few, for products with the rows of a large table.
_FEW_VECTORS = range(2, 65)


def matmul(x, y):
    """Computes `keras.ops.matmul(x, y)`, where y is a matrix or has the leading axes of x."""
    if len(y.shape) == 2 and is_for_onednn(x, y):
        return onednn_product(x, y)
    letters = "abcdefgh"[: len(x.shape)]
    of_y = letters[-1] + "z" if len(y.shape) == 2 else letters[:-2] + letters[-1] + "z"
    if _sums_bfloat16_apart(x, y):
        return einsum(f"{letters},{of_y}->{letters[:-1]}z", x, y)
    import keras

    return keras.ops.matmul(x, y)


def einsum(equation, x, y):
    """Computes `keras.ops.einsum(equation, x, y)`, each index of which stands in two of the three.

    XLA computes products of bfloat16 on a CPU by the chip's own instructions, in half the time of
    float32, only where their sums are float32; else it turns them into float32 first.
    """
    import keras

    if not _sums_bfloat16_apart(x, y):
        return keras.ops.einsum(equation, x, y)
    return _jax_products()(equation, *map(keras.ops.convert_to_tensor, (x, y)))


def is_for_onednn(x, kernel) -> bool:
    """Returns whether oneDNN is to multiply with a matrix: on PyTorch, in float32 on a CPU.

    Its operation has no gradients, so that none may be asked for. For many vectors it may be a
    tenth faster than what PyTorch's own products call, for few twice as fast.
    """
    import keras

    if keras.backend.backend() != "torch":
        return False
    import torch

    # What stands for a tensor in a graph that is being exported is of another type.
    return (
        type(x) is torch.Tensor
        and not torch.is_grad_enabled()
        and torch.backends.mkldnn.is_available()
        and all(y.device.type == "cpu" and y.dtype == torch.float32 for y in (x, kernel))
    )


def onednn_product(x, kernel, bias=None, *, with_gelu: bool = False):
    """Computes `x @ kernel + bias`, and its exact GELU, of what `is_for_onednn`.

    Args:
        x: `(..., input dim)`.
        kernel, bias: `(input dim, output dim)`, `(output dim,)`.
        with_gelu: Whether the output is that of GELU.
    """
    import torch

    then, how = ("gelu", "none") if with_gelu else ("none", "")
    return torch.ops.mkldnn._linear_pointwise(x, kernel.t(), bias, then, [], how)


def reads_rows_faster(num_vectors: int) -> bool:
    """Returns whether so many vectors are multiplied faster with a table than with its columns."""
    return num_vectors in _FEW_VECTORS and _is_jax_on("cpu")


def products_with_rows(x, table):
    """Computes `x @ table.T`, as in scores over a vocabulary, for x of any number of axes.

    XLA on a CPU copies the table into blocks first if it is the second factor, which takes longer
    than the product itself where x has few vectors. As the first factor it is read in place, as
    long as XLA does not swap the factors back to save the transposition of the small product.
    """
    import keras

    if is_for_onednn(x, table):
        return onednn_product(x, table.t())
    # None of unknown lengths: how many there are has to be known.
    num_vectors = math.prod(length or 0 for length in x.shape[:-1])
    if not reads_rows_faster(num_vectors):
        return matmul(x, keras.ops.transpose(table))
    import jax

    vectors = keras.ops.reshape(x, (num_vectors, x.shape[-1]))
    products = jax.lax.optimization_barrier(einsum("vd,nd->vn", table, vectors))
    return keras.ops.reshape(keras.ops.transpose(products), (*x.shape[:-1], table.shape[0]))


def activate(activation, x):
    """Computes `activation(x)`; Keras's exact GELU on JAX in a third of the time.

    Keras's is written with the complementary error function there, whose gradient keeps several
    arrays of the size of x where one is enough.
    """
    import keras

    if activation is keras.activations.gelu and keras.backend.backend() == "jax":
        return _jax_gelu()(x)
    return activation(x)


def computed_in_parts(function, *arrays, matrix_shape: tuple):
    """Computes `function(*arrays)` for parts of the batch apart, where that is faster.

    On a CPU XLA multiplies each pair of small matrices on one core, one pair after another. What
    does not depend on each other it computes at the same time.

    Args:
        function: Returns arrays whose first axis is the batch, as that of the arrays given.
        arrays: Those with another length of the first axis, as 1, and None are given as they are.
        matrix_shape: Of the products that the function computes.
    """
    batch = arrays[0].shape[0]
    # Lengths that a program leaves open are None, or symbols.
    is_known = all(isinstance(length, int) for length in (batch, *matrix_shape))
    num_parts = math.gcd(batch, _MOST_PARTS) if is_known and _is_jax_on("cpu") else 1
    if num_parts == 1 or math.prod(matrix_shape) not in _SMALL_MATRICES:
        return function(*arrays)
    import jax

    parts = [
        [array] * num_parts
        if array is None or array.shape[0] != batch
        else jax.numpy.split(array, num_parts)
        for array in arrays
    ]
    outputs = [function(*part) for part in zip(*parts, strict=True)]
    return jax.tree.map(lambda *arrays: jax.numpy.concatenate(arrays), *outputs)


def fused_attention(query, key, value, *, bias=None, mask=None, dropout: float = 0.0):
    """Returns attention from one kernel, which keeps no scores, or None where there is none for it.

    PyTorch has one for everything but dropout on a CPU. JAX has one on a GPU, cuDNN's, for half
    floats; it drops nothing, gives a bias no gradient, and has gradients for even lengths alone:
    https://github.com/jax-ml/jax/blob/main/jax/_src/cudnn/fused_attention_stablehlo.py

    Args:
        query: `(batch, heads, query tokens, head_dim)`, scaled.
        key, value: `(batch, heads, tokens, head_dim)`.
        bias: Added to the scores; `(batch or 1, heads, query tokens, tokens)`.
        mask: Booleans `(batch, query tokens, tokens)`, true where attention is allowed.
        dropout: Share of the weights that is dropped.
    """
    import keras

    is_torch = keras.backend.backend() == "torch"
    is_half = keras.backend.standardize_dtype(query.dtype) in ("float16", "bfloat16")
    if is_torch and dropout and query.device.type == "cpu":
        return None
    if not is_torch:
        if dropout or bias is not None or not is_half or not _is_jax_on("gpu"):
            return None
        if query.shape[2] % 2 or key.shape[2] % 2:
            return None
    if mask is not None:
        query, bias = _masked_by_bias(query, bias, keras.ops.expand_dims(mask, 1))
    if is_torch:
        import torch

        return torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=bias, dropout_p=dropout, scale=1.0
        )
    query, key, value = (keras.ops.swapaxes(x, 1, 2) for x in (query, key, value))
    x = keras.ops.dot_product_attention(query, key, value, bias=bias, scale=1.0)
    return keras.ops.swapaxes(x, 1, 2)


def _masked_by_bias(query, bias, mask):
    """Returns the query and a bias that give everything that is masked the weight zero.

    Kernels compute weights again for gradients, from the logarithm of their sum, in which nothing
    is left of scores as low as these. So a token that may attend to nothing gets scores of zero:
    equal weights, as a softmax of scores that are equally low.
    """
    from keras import ops

    mask = ops.cast(mask, "bool")
    has_some = ops.any(mask, axis=-1, keepdims=True)
    lowest = ops.where(has_some, ops.cast(lowest_score(query.dtype), query.dtype), 0)
    bias = ops.where(mask, 0 if bias is None else bias, lowest)
    return query * ops.cast(has_some, query.dtype), bias


def dropout(x, rate: float, seed):
    """Computes `keras.random.dropout(x, rate, seed=seed)`, with other random numbers on JAX.

    JAX's generators take dozens of times as long as all the rest of dropout on a CPU. Here each
    value's number is a hash of its place and of the seed, which XLA computes within the loop that
    drops: a counter-based generator, as in Salmon et al. 2011, "Parallel random numbers: as easy
    as 1, 2, 3" (https://doi.org/10.1145/2063384.2063405).

    Args:
        x: Floats of any shape.
        rate: Share of them that becomes 0, between 0 and 1; the others are divided by the rest.
        seed: A `keras.random.SeedGenerator`.
    """
    import keras

    if keras.backend.backend() != "jax":
        return keras.random.dropout(x, rate, seed=seed)
    import jax.numpy as jnp

    is_kept = _random_numbers(seed.next(), x.shape) >= jnp.uint32(rate * 2**32)
    return jnp.where(is_kept, x / (1 - rate), 0)


def _random_numbers(seed, shape: tuple[int, ...]):
    """Returns uint32 numbers, each from the two of a seed and its place in an array of JAX."""
    import jax.numpy as jnp

    def mixed(x):
        # A permutation in which each bit depends on each, with the factors of the least bias that
        # a search has found: https://github.com/skeeto/hash-prospector
        x = (x ^ (x >> 16)) * jnp.uint32(0x21F0AAAD)
        x = (x ^ (x >> 15)) * jnp.uint32(0xD35A2D97)
        return x ^ (x >> 15)

    # All bits of both keys depend on both numbers of the seed, which may be close to another's.
    first, second = seed.astype("uint32")
    first = mixed(first ^ mixed(second + jnp.uint32(0x9E3779B9)))
    second = mixed(first + second)
    places = jnp.arange(math.prod(shape), dtype="uint32").reshape(shape)
    return mixed(mixed(places ^ first) ^ second)


def lowest_score(dtype) -> float:
    """Returns the score of what may not be attended to, which each dtype can hold."""
    import keras

    return -3e4 if keras.backend.standardize_dtype(dtype) == "float16" else -1e9


def int8_product(x, kernel, kernel_scale, *bias):
    """Returns `x @ (kernel / kernel_scale) + bias` in float32, with each row of x rounded to int8.

    JAX on a CPU multiplies by its instructions for 8 bits (VNNI), else by those for bfloat16, in
    less time than integers: 8 bits are exact there. For PyTorch Keras would multiply int32, in
    many times that of float32:
    https://github.com/keras-team/keras/blob/v3.15.1/keras/src/backend/torch/numpy.py

    Args:
        x: Floats `(rows, input dim)`.
        kernel, kernel_scale: int8 `(input dim, output dim)`, and what it was multiplied by,
            `(output dim,)`.
        bias: `(output dim,)`, or nothing.
    """
    import keras
    from keras import ops

    x, kernel_scale = ops.cast(x, "float32"), ops.cast(kernel_scale, "float32")
    scale = 127 / (ops.max(ops.abs(x), axis=-1, keepdims=True) + keras.config.epsilon())
    if keras.backend.backend() == "openvino":
        product = _openvino_int8_product(x * scale, kernel, kernel_scale) * (1 / scale)
        return product + ops.cast(bias[0], "float32") if bias else product
    rounded = ops.round(x * scale)
    if keras.backend.backend() == "torch" and rounded.device.type == "cpu":
        import torch

        product = (
            torch.ops.aten._int_mm(rounded.to(torch.int8), kernel).float().mul_(1 / kernel_scale)
        )
        return torch.addcmul(bias[0].float(), product, 1 / scale) if bias else product / scale
    product = _product_of_rounded(rounded, kernel) / (scale * kernel_scale)
    return product + ops.cast(bias[0], "float32") if bias else product


def _product_of_rounded(x, kernel):
    """Returns the float32 product of x, whole numbers from -127 to 127 in floats, with int8."""
    from keras import ops

    if _is_jax_on("cpu") and _has_uint8_products():
        return ops.cast(_product_of_uint8(x, kernel), "float32")
    if _is_jax_on("cpu") and _has_cpu_flag("avx512_bf16", "amx_bf16"):
        operands = (ops.cast(operand, "bfloat16") for operand in (x, kernel))
        return _jax_products(sums="float32")("ab,bc->ac", *operands)
    return ops.cast(ops.matmul(ops.cast(x, "int8"), kernel), "float32")


def _openvino_int8_product(x, kernel, kernel_scale):
    """Returns `round(x) @ (kernel / kernel_scale)` in the operations that OpenVINO does in 8 bits.

    It looks for a rounding between constants, and for integers that are turned into floats:
    https://docs.openvino.ai/2025/documentation/openvino-extensibility/openvino-plugin-library/advanced-guides/low-precision-transformations.html
    """
    import numpy as np
    from keras import ops
    from openvino import opset16

    lowest, highest = np.float32(-128), np.float32(127)
    rounded = opset16.fake_quantize(x.output, lowest, highest, lowest, highest, levels=256)
    # Keras's operations cast once more, and then the integers are not found.
    floats = opset16.multiply(opset16.convert(kernel.output, np.float32), (1 / kernel_scale).output)
    product = opset16.matmul(rounded, floats, False, False)
    return ops.convert_to_tensor(product.output(0))


def _sums_bfloat16_apart(x, y) -> bool:
    import keras

    dtypes = {keras.backend.standardize_dtype(tensor.dtype) for tensor in (x, y)}
    return dtypes == {"bfloat16"} and _is_jax_on("cpu")


def _is_jax_on(platform: str) -> bool:
    import keras

    if keras.backend.backend() != "jax":
        return False
    import jax

    return jax.default_backend() == platform


@functools.cache
def _has_cpu_flag(*names: str) -> bool:
    """Whether the CPU has instructions of one of these names, where Linux says so."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return False
    return not set(names).isdisjoint(flags)


def _has_uint8_products() -> bool:
    """Whether XLA gives products of uint8 with int8 to YNNPACK, and that has instructions for them.

    Before JAX 0.10.1 some shapes of such products were refused while they were compiled.
    """
    import jax

    return jax.__version_info__ >= (0, 10, 1) and _has_cpu_flag("avx512_vnni", "avx_vnni")


def _product_of_uint8(x, kernel):
    """Returns the int32 product of x, whole numbers from -127 to 127 in floats, with int8.

    The instructions multiply numbers without a sign with such that have one, so that x is moved
    up by 128, and as many times the sum of each column is taken off again.
    """
    from keras import ops

    # A row of zeros gives those sums in the same product. XLA's own sums of int8 would write the
    # kernel in int32 first, which takes longer than the product of a thousand rows.
    moved = ops.cast(ops.pad(x, ((0, 1), (0, 0))) + 128, "uint8")
    product = _jax_uint8_products()(moved, kernel)
    return product[:-1] - product[-1:]


@functools.cache
def _jax_uint8_products():
    """Returns `x @ y` in int32 for uint8 and int8, as an operation of its own.

    JAX's own product turns both into int32 first, which no instructions are fast for:
    https://github.com/jax-ml/jax/blob/jax-v0.10.2/jax/_src/lax/lax.py
    """
    import jax
    from jax.extend.core import Primitive
    from jax.extend.mlir import ir
    from jax.extend.mlir.dialects import stablehlo
    from jax.interpreters import mlir

    primitive = Primitive("uint8_product")

    def lowered(context, x, y):
        open_length = ir.ShapedType.get_dynamic_size()
        lengths = [n if isinstance(n, int) else open_length for n in context.avals_out[0].shape]
        kind = ir.RankedTensorType.get(lengths, ir.IntegerType.get_signless(32))
        summed = stablehlo.DotDimensionNumbers.get([], [], [1], [0])
        return [stablehlo.dot_general(kind, x, y, summed)]

    primitive.def_abstract_eval(
        lambda x, y: jax.core.ShapedArray((x.shape[0], y.shape[1]), jax.numpy.dtype("int32"))
    )
    primitive.def_impl(lambda x, y: jax.jit(primitive.bind)(x, y))
    mlir.register_lowering(primitive, lowered, platform="cpu")
    return jax.custom_batching.sequential_vmap(primitive.bind)


@functools.cache
def _jax_gelu():
    """Returns exact GELU, Hendrycks and Gimpel 2016 (https://arxiv.org/abs/1606.08415)."""
    import jax
    import jax.numpy as jnp

    def widened(x):
        return x.astype(jnp.promote_types(x.dtype, "float32"))

    def of_normal(x):
        return 0.5 * (1 + jax.lax.erf(x * 0.5**0.5))

    @jax.custom_jvp
    def gelu(x):
        wide = widened(x)
        return (wide * of_normal(wide)).astype(x.dtype)

    @gelu.defjvp
    def gelu_and_slope(inputs, tangents):
        wide = widened(inputs[0])
        density = jnp.exp(-0.5 * wide**2) * (2 * math.pi) ** -0.5
        slope = (of_normal(wide) + wide * density).astype(inputs[0].dtype)
        return gelu(inputs[0]), slope * tangents[0]

    return gelu


@functools.cache
def _jax_products(sums: str = "bfloat16"):
    """Returns einsum for bfloat16 that sums in float32, backwards as well, and then rounds."""
    import jax
    import jax.numpy as jnp

    def product(equation, x, y):
        wide = jnp.einsum(equation, x, y, preferred_element_type=jnp.float32)
        return wide.astype(sums)

    def forward(equation, x, y):
        return product(equation, x, y), (x, y)

    def backward(equation, inputs, upstream):
        x, y = inputs
        operands, of_output = equation.split("->")
        of_x, of_y = operands.split(",")
        upstream = upstream.astype(x.dtype)
        return (
            product(f"{of_output},{of_y}->{of_x}", upstream, y).astype(x.dtype),
            product(f"{of_x},{of_output}->{of_y}", x, upstream).astype(y.dtype),
        )

    products = jax.custom_vjp(product, nondiff_argnums=(0,))
    products.defvjp(forward, backward)
    return products
