"""Pretrained text models on Keras 3: fill masks, classify and fine-tune on raw strings.

`import clozework as keras_hub` carries a KerasHub script over. Importing the package is cheap:
the sub-packages `models`, `layers`, `losses`, `samplers`, `tokenizers`, `callbacks`, `bulk` and
`training` are imported when they are first used, and Keras with them.
"""

import importlib

from clozework.chosen_backend import prepare_backend, require_backend
from clozework.start_up import collection_paused, load_lazily

__version__ = "0.1.0"
__all__ = [
    "backend_choice",
    "bulk",
    "callbacks",
    "layers",
    "losses",
    "models",
    "samplers",
    "tokenizers",
    "training",
    "version",
]

_SUB_PACKAGES = frozenset(
    {"bulk", "callbacks", "layers", "losses", "models", "samplers", "tokenizers", "training"}
)

# Both have to happen before anyone imports Keras, which would fail without TensorFlow.
backend_choice = prepare_backend()
load_lazily()


def version() -> str:
    """Returns the version of Clozework, as in `"0.1.0"`."""
    return __version__


def __getattr__(name: str):
    if name in _SUB_PACKAGES:
        require_backend(backend_choice)
        with collection_paused():
            return importlib.import_module(f"clozework.{name}")
    raise AttributeError(f"module 'clozework' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUB_PACKAGES})
