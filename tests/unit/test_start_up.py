"""What a start leaves for later; each test that imports runs in a process of its own."""

import contextlib
import gc
import subprocess
import sys
import weakref

import pytest

from clozework.start_up import collection_paused


def printed(code: str) -> list[str]:
    """Returns the lines that a new process prints."""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


@pytest.mark.parametrize(
    "statement", ["import clozework.models", "from clozework import models", "import keras"]
)
def test_an_import_of_keras_leaves_out_what_few_use(statement):
    lines = printed(
        f"import sys, clozework\n{statement}\n"
        "seldom_used = ('sklearn', 'scipy.sparse', 'jax._src.pallas.mosaic.lowering')\n"
        "print([name for name in seldom_used if name in sys.modules])"
    )
    assert lines == ["[]"]


def test_what_was_left_out_is_there_when_it_is_asked_for():
    lines = printed(
        "import clozework.models, keras, jax.experimental.sparse\n"
        "from jax.experimental.pallas import tpu\n"
        "print(tpu.CompilerParams.__name__)\n"
        "print(keras.wrappers.SKLearnClassifier.__name__)\n"
        "print(jax.experimental.sparse.linalg.spsolve.__module__)\n"
        "from keras.wrappers import SKLearnRegressor\n"
        "print(SKLearnRegressor.__name__)"
    )
    assert lines == [
        "CompilerParams",
        "SKLearnClassifier",
        "jax.experimental.sparse.linalg",
        "SKLearnRegressor",
    ]


def test_a_module_imported_before_stays_the_same():
    lines = printed(
        "import jax.experimental.sparse.linalg as before\n"
        "import clozework.models, jax\n"
        "print(jax.experimental.sparse.linalg is before)"
    )
    assert lines == ["True"]


def test_garbage_is_collected_again_after_an_import_that_failed():
    assert gc.isenabled()
    with contextlib.suppress(ImportError), collection_paused():
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled()


def test_collection_that_was_off_before_stays_off():
    gc.disable()
    try:
        with collection_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


# Other packages freeze objects, too, so that these need a process of their own.
def test_what_was_made_in_a_pause_is_not_looked_at_for_being_young():
    lines = printed(
        "import gc\nfrom clozework.start_up import collection_paused\n"
        "with collection_paused():\n    made = [[] for _ in range(10_000)]\n"
        "print(gc.get_count()[0] < len(made), gc.get_freeze_count())"
    )
    assert lines == ["True 0"]


def test_frozen_objects_stay_frozen():
    lines = printed(
        "import gc\nfrom clozework.start_up import collection_paused\n"
        "gc.freeze()\nnum_frozen = gc.get_freeze_count()\n"
        "with collection_paused():\n    pass\n"
        "print(gc.get_freeze_count() == num_frozen > 0)"
    )
    assert lines == ["True"]


def test_garbage_of_a_pause_is_collected_in_the_end():
    class Node:
        def __init__(self):
            self.itself = self

    with collection_paused():
        freed = weakref.ref(Node())
    gc.collect()
    assert freed() is None


def test_a_search_among_new_objects_finds_no_old_garbage():
    lines = printed(
        "import gc, weakref\nfrom clozework.start_up import old_objects_kept\n"
        "class Node:\n    def __init__(self):\n        self.itself = self\n"
        "gc.collect()\nold = weakref.ref(Node())\n"
        "with old_objects_kept():\n    new = weakref.ref(Node())\n    gc.collect()\n"
        "    print(old() is None, new() is None)\n"
        "gc.collect()\nprint(old() is None)"
    )
    assert lines == ["False True", "True"]


def test_objects_that_somebody_froze_are_not_thawed():
    lines = printed(
        "import gc\nfrom clozework.start_up import old_objects_kept\n"
        "gc.freeze()\nnum_frozen = gc.get_freeze_count()\n"
        "with old_objects_kept():\n    pass\n"
        "print(gc.get_freeze_count() == num_frozen > 0)"
    )
    assert lines == ["True"]
