"""Functional Keras models that are subclasses with a constructor of their own."""

import threading
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import keras

from clozework.backend import step_compiled_sooner, values_kept
from clozework.layers import ReversibleEmbedding
from clozework.openvino_graphs import OpenVINOGraph, OpenVINOGraphs
from clozework.start_up import old_objects_kept
from clozework.tasks.arguments import recorded_arguments

__all__ = ["RecordedModel"]


class RecordedModel(keras.Model):
    """Base class of backbones and tasks: records the constructor's arguments, checked.

    A subclass sets its layers as attributes, joins them, and ends its constructor with
    `super().__init__(inputs=..., outputs=...)`. An error or an interrupt in training or use leaves
    the model its weights; several threads that use it take turns.
    """

    arguments: dict[str, Any]
    # Argument that may be None -> the one whose value it then has.
    same_by_default: ClassVar[Mapping[str, str]] = {}
    _openvino_graphs: OpenVINOGraphs | None = None
    _current_graph: OpenVINOGraph

    def __new__(cls, *args, **kwargs):
        instance = super().__new__(cls, *args, **kwargs)
        # Of the thread that trains or uses it: Keras's trainers keep their state in the model.
        object.__setattr__(instance, "_in_use", threading.RLock())
        # Keras makes an empty instance where it turns the class into a functional model.
        if args or kwargs:
            own = {name: value for name, value in kwargs.items() if name != "compile"}
            arguments = recorded_arguments(cls, args, own)
            object.__setattr__(instance, "arguments", arguments)
        return instance

    def __init__(self, *args, **kwargs):
        object.__setattr__(self, "_has_its_layers", True)
        super().__init__(*args, **kwargs)
        _give_each_layer_its_policy(self)

    def __setattr__(self, name, value):
        # The functional graph tracks the layers. PyTorch refuses attributes that are modules
        # before its own constructor has run. Keras's JAX trainer sets `_jax_state` after each step:
        # going through its hundreds of arrays for layers takes 0.6 ms, where a GPU computes for 7.
        if "_has_its_layers" in self.__dict__ and name != "_jax_state":
            super().__setattr__(name, value)
        else:
            object.__setattr__(self, name, value)

    def quantize(self, mode=None, **kwargs):
        """Rounds the weights to few bits; arguments as in `keras.Model.quantize`.

        Args:
            mode: `"int8"`, `"int4"` or `"float8"`; a preset can hold these.
            **kwargs: `filters`, `config`.
        """
        with self._in_use, old_objects_kept(), warnings.catch_warnings():
            # Keras says of each dropout and each sum that it has nothing to round.
            warnings.filterwarnings("ignore", message=".*does not have a `quantize` method")
            # Embeddings stay as they are where 8 bits are floats.
            warnings.filterwarnings("ignore", message="Invalid quantization mode. Expected one of")
            # Our embeddings are a subclass of Keras's, which would be left out.
            super().quantize(mode, **{"type_check": False, **kwargs})

    def fit(self, *args, **kwargs):
        """See `keras.Model.fit`."""
        with self._in_use, values_kept(self):
            return super().fit(*args, **kwargs)

    def evaluate(self, *args, **kwargs):
        """See `keras.Model.evaluate`."""
        with self._in_use, values_kept(self):
            return super().evaluate(*args, **kwargs)

    def predict(self, *args, **kwargs):
        """See `keras.Model.predict`."""
        with self._in_use, values_kept(self):
            return super().predict(*args, **kwargs)

    def train_on_batch(self, *args, **kwargs):
        """See `keras.Model.train_on_batch`."""
        with self._in_use, values_kept(self):
            return super().train_on_batch(*args, **kwargs)

    def test_on_batch(self, *args, **kwargs):
        """See `keras.Model.test_on_batch`."""
        with self._in_use, values_kept(self):
            return super().test_on_batch(*args, **kwargs)

    def predict_on_batch(self, *args, **kwargs):
        """See `keras.Model.predict_on_batch`."""
        with self._in_use, values_kept(self):
            return super().predict_on_batch(*args, **kwargs)

    def make_train_function(self, force=False):
        """Called by Keras's trainer, which cannot be told how JAX compiles a step."""
        is_made = self.train_function is not None and not force
        super().make_train_function(force)
        step = None if is_made else step_compiled_sooner(self)
        if step is not None:
            self.train_function = self._make_function(step)

    def _get_compiled_model(self, data):
        """Called by Keras's trainer for OpenVINO, which would compute float32 in bfloat16.

        Nor would it see that weights have changed:
        https://github.com/keras-team/keras/blob/v3.15.1/keras/src/backend/openvino/trainer.py
        """
        if self._openvino_graphs is None:
            self._openvino_graphs = OpenVINOGraphs(
                lambda x: self(x, training=False), read=lambda: self.variables, open_axes=1
            )
        self._current_graph = self._openvino_graphs.of(data)
        return self._current_graph.model

    def _unpack_inference_outputs(self, all_outputs):
        """Called by Keras's trainer for OpenVINO with what the compiled model has computed."""
        return self._current_graph.outputs_of(all_outputs)


def _give_each_layer_its_policy(model) -> None:
    """Resolves a map of policies, which a model with quantized weights is made with.

    Keras's layers look at their own policy in some places, and at the map in others:
    https://github.com/keras-team/keras/issues/21378
    """
    for layer in model._flatten_layers(include_self=False):
        is_map = isinstance(layer.dtype_policy, keras.dtype_policies.DTypePolicyMap)
        # A layer without variables may have no path; it is not quantized.
        if is_map and layer.path:
            layer._dtype_policy = layer.dtype_policy[layer.path]
            if layer.quantization_mode == "int4" and isinstance(layer, ReversibleEmbedding):
                # `quantize("int4")` leaves activations as they are; Keras forgets it in `build`.
                layer.inputs_quantizer = None
