"""What makes a start quick: parts of Keras that few use wait, and so does the garbage collector."""

import contextlib
import gc
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from importlib.util import LazyLoader

__all__ = ["collection_paused", "load_lazily", "old_objects_kept"]

# Name -> what is imported for it, which together takes longer than Keras itself.
_SELDOM_USED = {
    "jax.experimental.pallas.tpu": "the compiler of kernels for TPUs",
    "jax.experimental.sparse.linalg": "SciPy's sparse matrices, for solvers",
    "keras.wrappers": "scikit-learn, where it is installed",
}


class _LazyFinder(MetaPathFinder):
    """Finds a few modules where they always are, and has them run when they are used."""

    def find_spec(self, name, path=None, target=None):
        spec = PathFinder.find_spec(name, path, target) if name in _SELDOM_USED else None
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


def load_lazily() -> None:
    """Sees to it that modules that few use are run when they are used, in this process.

    Keras and JAX import them whenever they are imported themselves. Changes nothing for those that
    are imported already, and nothing about what they hold.
    """
    if not any(isinstance(finder, _LazyFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _LazyFinder())


@contextlib.contextmanager
def collection_paused():
    """Within it, no garbage is collected: imports and models are a million objects that all stay.

    They are not looked at again for being young either: what is there at the end counts as old,
    unless somebody has frozen objects of theirs, which would be thawed.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():
            gc.freeze()
            gc.unfreeze()
        gc.enable()


@contextlib.contextmanager
def old_objects_kept():
    """Within it, a search for garbage looks at new objects alone.

    Keras searches whenever a variable of a layer is deleted, which is the time that it takes to
    round weights: https://github.com/keras-team/keras/blob/v3.15.1/keras/src/layers/layer.py
    Nothing changes where somebody has frozen objects of theirs, which would be thawed.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
