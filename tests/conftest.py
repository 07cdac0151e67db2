"""What holds for every test."""

import gc
import itertools
import os

import pytest

# Tiny models compute for microseconds and compile for seconds: XLA makes the same programs, without
# the passes that make their machine code fast, in its older and quicker way to write fused
# operations, and each in one piece. Set before JAX is imported. A JAX that no longer knows one of
# them ends at once and names it ("Unknown flags in XLA_FLAGS"): leave it out, it only saves time.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
)

# PyTorch's threads would wait for each other, at full speed, many times longer than they compute.
# Read when PyTorch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

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
        # Whoever loads a model asks whether any objects are frozen: to count millions takes longer
        # than the rest.
        gc.get_freeze_count = lambda: 1
