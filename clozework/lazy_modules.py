"""What makes the import of Keras quick: parts of it that few use are loaded on first use."""

import contextlib
import gc
import importlib.util
import sys
from importlib.abc import Loader, MetaPathFinder

__all__ = ["collection_paused", "load_lazily"]

# Name -> what is imported for it, which together takes longer than Keras itself.
_SELDOM_USED = {
    "jax.experimental.sparse.linalg": "SciPy's sparse matrices, for solvers",
    "keras.wrappers": "scikit-learn, where it is installed",
}


class _LazyFinder(MetaPathFinder):
    """Finds what the other finders find; a module is run when something of it is asked for."""

    def find_spec(self, name, path=None, target=None):
        if name not in _SELDOM_USED:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                if isinstance(spec.loader, Loader):
                    spec.loader = importlib.util.LazyLoader(spec.loader)
                return spec
        return None


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
