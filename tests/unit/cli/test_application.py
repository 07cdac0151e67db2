"""Help, errors, warnings and what the command imports."""

import os
import subprocess
import sys

import pytest

import clozework as package

SLOW_TO_IMPORT = ("keras", "jax", "torch", "tensorflow", "numpy", "huggingface_hub", "rich")


def run_main(*arguments, before=""):
    """Runs the command in a process of its own."""
    code = f"from clozework.cli import main\n{before}\nmain()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["fill", "--help"], ["fill"]])
def test_help_waits_for_no_large_package(arguments):
    report = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('imported', *set(sys.modules) & {set(SLOW_TO_IMPORT)}))"
    )
    result = run_main(*arguments, before=report)
    assert "Usage" in result.stdout + result.stderr or package.__version__ in result.stdout
    assert result.stdout.splitlines()[-1] == "imported"


def test_the_version_is_the_packages(clozework):
    assert clozework("--version").out.split()[-1] == package.__version__


def test_an_error_is_one_sentence_on_stderr(clozework):
    result = clozework("info", "bert_bse_en")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("Error: Preset 'bert_bse_en' not found")
    assert "Did you mean 'bert_base_en'" in result.err


def test_debug_prints_where_an_error_came_up():
    result = run_main("--debug", "info", "bert_bse_en")
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert "PresetNotFoundError" in result.stderr


def test_a_defect_is_reported_without_a_traceback():
    defect = "import clozework.tasks as tasks\ntasks.describe_preset = lambda _: 1 / 0"
    result = run_main("info", "bert_base_en", before=defect)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1].startswith("Error: ZeroDivisionError: division by zero.")
    assert "Traceback" not in result.stderr


def test_debug_shows_a_defect_whole():
    defect = "import clozework.tasks as tasks\ntasks.describe_preset = lambda _: 1 / 0"
    assert "Traceback" in run_main("--debug", "info", "x", before=defect).stderr


def test_a_warning_is_one_line_without_code():
    warn = (
        "import warnings, clozework.tasks as tasks\n"
        "from clozework.errors import ClozeworkWarning, InputError\n"
        "def describe(_):\n"
        "    warnings.warn('Mind the gap.', ClozeworkWarning)\n"
        "    raise InputError('And stop.')\n"
        "tasks.describe_preset = describe"
    )
    lines = run_main("info", "x", before=warn).stderr.splitlines()
    assert lines[-2:] == ["Warning: Mind the gap.", "Error: And stop."]


def test_an_unknown_command_is_a_mistake_of_usage(clozework):
    assert clozework("fil").code == 2


@pytest.mark.parametrize("arguments", [["presets"], ["presets", "--json"]])
def test_a_pipe_that_nobody_reads_is_no_error(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    code = "from clozework.cli import main; main()"
    try:
        command = [sys.executable, "-c", code, *arguments]
        result = subprocess.run(
            command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=120
        )
    finally:
        os.close(writing)
    assert (result.returncode, result.stderr) == (1, "")


def test_what_the_system_refuses_is_one_sentence():
    fault = (
        "import errno, clozework.tasks as tasks\n"
        "def describe(_):\n"
        "    raise OSError(errno.ENOSPC, 'No space left on device'{})\n"
        "tasks.describe_preset = describe"
    )
    result = run_main("info", "x", before=fault.format(""))
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1] == (
        "Error: No space left on device, while results were written or read."
    )
    result = run_main("info", "x", before=fault.format(", '/x/y'"))
    assert result.stderr.splitlines()[-1] == "Error: No space left on device: /x/y."


@pytest.mark.parametrize(
    "interrupt",
    [
        "raise KeyboardInterrupt",
        "signal.raise_signal(signal.SIGINT)",
        # What packages do while they are imported is not undone.
        "sys.path.insert(0, r'{folder}'); import interrupted",
    ],
    ids=["raised", "sent", "while_importing"],
)
def test_an_interrupt_ends_it_without_a_traceback(interrupt, tmp_path):
    (tmp_path / "interrupted.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)")
    before = (
        "import signal, sys, clozework.tasks as tasks\n"
        "def describe(_):\n"
        f"    {interrupt.format(folder=tmp_path)}\n"
        "tasks.describe_preset = describe"
    )
    result = run_main("info", "x", before=before)
    assert (result.returncode, result.stdout) == (130, "")
    assert result.stderr.splitlines()[-1] == "Interrupted."
    assert "Traceback" not in result.stderr
