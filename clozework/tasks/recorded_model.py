"""Functional Keras models that are subclasses with a constructor of their own."""

import threading
from collections.abc import Mapping
from typing import Any, ClassVar

import keras

from clozework.backend import values_kept
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

    def __setattr__(self, name, value):
        # The functional graph tracks the layers. PyTorch refuses attributes that are modules
        # before its own constructor has run.
        if "_has_its_layers" in self.__dict__:
            super().__setattr__(name, value)
        else:
            object.__setattr__(self, name, value)

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
