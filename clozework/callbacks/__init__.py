"""Callbacks for `fit`, beside those of Keras."""

from clozework.tasks import Resumable

__all__ = ["Resumable"]
