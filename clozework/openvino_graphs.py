"""Functions of Keras's operations as graphs that OpenVINO has compiled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["OpenVINOGraph", "OpenVINOGraphs", "openvino_constant"]

# By default the plugin for CPUs computes in bfloat16 where the chip can, whatever the graph says:
# https://docs.openvino.ai/2025/openvino-workflow/running-inference/optimize-inference/precision-control.html
_PRECISION = {"INFERENCE_PRECISION_HINT": "f32"}


@dataclass(frozen=True)
class OpenVINOGraph:
    """A compiled graph.

    Attributes:
        model: OpenVINO's compiled model.
        outputs: Structure of the tensors that it computes, as they are in the graph.
    """

    model: Any
    outputs: Any

    def __call__(self, arrays):
        """Returns the outputs, as arrays, for a structure of arrays."""
        import keras

        inputs = [_openvino_tensor(np.asarray(x)) for x in keras.tree.flatten(arrays)]
        return self.outputs_of(self.model(inputs).to_tuple())

    def outputs_of(self, values: Sequence[np.ndarray]):
        """Returns what the model has computed as the structure of the outputs."""
        import keras

        dtypes = [x.dtype for x in keras.tree.flatten(self.outputs)]
        arrays = [_array(value, dtype) for value, dtype in zip(values, dtypes, strict=True)]
        return keras.tree.pack_sequence_as(self.outputs, arrays)


class OpenVINOGraphs:
    """The graphs of a function, which are made when they are needed.

    Weights are constants of a graph: when one has been assigned, the graphs are made again. One
    graph serves all lengths of the axes that are open.

    Args:
        function: Takes a structure of tensors, and returns one.
        read: Returns the variables that it reads.
        open_axes: How many of the first axes of all arrays may have any length.

    Example:
    >>> graphs = OpenVINOGraphs(lambda x: {"sum": x["a"] + x["b"]}, read=lambda: (), open_axes=1)
    """

    def __init__(self, function: Callable, read: Callable[[], Sequence], *, open_axes: int):
        self._function = function
        self._read = read
        self._open_axes = open_axes
        self._weights: list = []
        self._graphs: dict[tuple, OpenVINOGraph] = {}

    def __call__(self, arrays):
        """Returns the outputs, as arrays, for a structure of arrays."""
        return self.of(arrays)(arrays)

    def of(self, arrays) -> OpenVINOGraph:
        """Returns the graph for arrays of such dtypes and shapes, open axes aside."""
        import keras

        weights = [variable.value for variable in self._read()]
        if not _are_same(weights, self._weights):
            self._weights = weights
            self._graphs.clear()
        key = tuple(
            (path, self._shape(x), keras.backend.standardize_dtype(x.dtype))
            for path, x in keras.tree.flatten_with_path(arrays)
        )
        if key not in self._graphs:
            self._graphs[key] = self._compiled(arrays)
        return self._graphs[key]

    def _compiled(self, arrays) -> OpenVINOGraph:
        import keras
        import openvino
        from keras.src.backend.openvino.core import OPENVINO_DTYPES, get_device
        from openvino import opset16

        def parameter(x):
            dtype = OPENVINO_DTYPES[keras.backend.standardize_dtype(x.dtype)]
            return opset16.parameter(self._shape(x), dtype)

        parameters = keras.tree.map_structure(parameter, arrays)
        tensors = keras.tree.map_structure(
            lambda node: keras.ops.convert_to_tensor(node.output(0)), parameters
        )
        outputs = keras.tree.map_structure(keras.ops.convert_to_tensor, self._function(tensors))
        # The stubs of the package do not fit each other.
        model = openvino.Model(  # pyright: ignore[reportGeneralTypeIssues]
            [opset16.result(x.output) for x in keras.tree.flatten(outputs)],
            keras.tree.flatten(parameters),
        )
        device = get_device()
        config = _PRECISION if device == "CPU" else {}
        return OpenVINOGraph(openvino.compile_model(model, device, config), outputs)

    def _shape(self, x) -> tuple[int, ...]:
        num_open = min(self._open_axes, len(x.shape))
        return (*[-1] * num_open, *x.shape[num_open:])


def openvino_constant(value, dtype: str):
    """Returns a tensor of known values.

    Keras would make a list of Python's numbers for bfloat16, in many times the time and memory.
    """
    import keras
    import ml_dtypes
    import openvino

    in_numpy = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    tensor = _openvino_tensor(np.asarray(value).astype(in_numpy, copy=False))
    return keras.ops.convert_to_tensor(openvino.op.Constant(tensor).output(0))


def _are_same(weights: Sequence, others: Sequence) -> bool:
    return len(weights) == len(others) and all(
        weight is other for weight, other in zip(weights, others, strict=True)
    )


def _openvino_tensor(x: np.ndarray):
    """Returns a copy as a tensor of OpenVINO, which takes no arrays of bfloat16."""
    import openvino

    x = np.asarray(x, order="C")
    if x.dtype.name != "bfloat16":
        return openvino.Tensor(x)
    # A tensor that shares the array's memory would not keep the array.
    tensor = openvino.Tensor(openvino.Type.bf16, openvino.Shape(x.shape))
    tensor.data[...] = x.view("float16")
    return tensor


def _array(value: np.ndarray, dtype: str) -> np.ndarray:
    """Returns an output as an array; OpenVINO gives bfloat16 out as if it were float16."""
    if dtype != "bfloat16":
        return np.array(value)
    import ml_dtypes

    return np.array(value).view(ml_dtypes.bfloat16)
