"""What holds for every test."""

import gc
import itertools

import pytest

# How many tests a process runs before what they leave for good is set aside.
_INTERVAL = 100
_numbers = itertools.count(1)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown():
    """Keeps garbage collection from looking at compiled programs again and again.

    They stay for the whole run, gigabytes in the end, and Keras collects garbage each time that it
    deletes a variable.
    """
    if next(_numbers) % _INTERVAL == 0:
        gc.collect()
        gc.freeze()
