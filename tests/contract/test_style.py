"""The budgets and rules of the code, and every example in its docstrings."""

import ast
import doctest
import functools
import importlib
import re
from pathlib import Path

import keras
import numpy as np
import pytest

import clozework.models  # noqa: F401 (registers the families)

ROOT = Path(__file__).parents[2]
FILES = {
    path.relative_to(ROOT).as_posix(): path
    for folder in ("clozework", "tests", "examples", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
LIBRARY = {name: path for name, path in FILES.items() if name.startswith("clozework/")}
FAMILY_FILES = [
    name
    for name in LIBRARY
    if name.startswith("clozework/models/") and "\nFAMILY = " in FILES[name].read_text("utf-8")
]

MAX_LINES = 500
MAX_FAMILY_LINES = 300
MAX_FUNCTION_LINES = 60
VAGUE = {"utils", "util", "common", "core", "helpers", "helper", "misc", "src"}


def source(name: str) -> str:
    return FILES[name].read_text(encoding="utf-8")


@functools.cache
def tree(name: str) -> ast.Module:
    return ast.parse(source(name))


def functions(name: str):
    """Yields each function with its number of lines without the docstring."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False)
            lines = node.end_lineno - node.lineno + 1
            yield node.name, lines - (docstring.count("\n") + 1 if docstring else 0)


def module_of(name: str) -> str:
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@pytest.mark.parametrize("name", FILES)
def test_a_file_stays_within_its_budget(name):
    budget = MAX_FAMILY_LINES if name in FAMILY_FILES else MAX_LINES
    assert len(source(name).splitlines()) <= budget


@pytest.mark.parametrize("name", FILES)
def test_a_function_stays_within_its_budget(name):
    long = {function: lines for function, lines in functions(name) if lines > MAX_FUNCTION_LINES}
    assert not long


def test_family_files_are_found():
    assert len(FAMILY_FILES) >= 5


@pytest.mark.parametrize("name", FILES)
def test_a_module_is_named_for_what_it_holds(name):
    assert not VAGUE & set(re.split(r"[/._]", name.removesuffix(".py")))


@pytest.mark.parametrize("name", LIBRARY)
def test_no_error_is_swallowed_whole(name):
    caught = {
        ast.unparse(handler.type) if handler.type else "everything"
        for handler in ast.walk(tree(name))
        if isinstance(handler, ast.ExceptHandler) and not _raises_again(handler)
    }
    assert not caught & {"everything", "Exception", "BaseException"}


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


@pytest.mark.parametrize("name", LIBRARY)
def test_a_module_says_what_it_is_for(name):
    assert ast.get_docstring(tree(name))


@pytest.mark.parametrize("name", [name for name in LIBRARY if not name.endswith("__main__.py")])
def test_what_is_public_is_listed_sorted_and_there(name):
    module = importlib.import_module(module_of(name))
    assert module.__all__ == sorted(set(module.__all__), key=_place_in_all)
    missing = [public for public in module.__all__ if not hasattr(module, public)]
    assert not missing


def _place_in_all(name: str):
    """Constants first, then classes, then functions, as the linter sorts them."""
    return (not name.isupper(), not name[0].isupper(), name)


@pytest.mark.parametrize("name", LIBRARY)
def test_no_task_is_left_in_a_comment(name):
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", source(name))


@pytest.mark.skipif(
    keras.backend.backend() != "jax",
    reason="examples show what the default backend prints; PyTorch prints torch.Size for a shape",
)
class _AnyBackend(doctest.OutputChecker):
    """Takes PyTorch's way of writing a shape for a tuple."""

    def check_output(self, want, got, optionflags):
        as_tuple = re.sub(r"torch\.Size\(\[(.*?)\]\)", r"(\1)", got)
        return super().check_output(want, as_tuple, optionflags)


@pytest.mark.parametrize("name", LIBRARY)
def test_examples_in_docstrings_run(name):
    if ">>>" not in source(name):
        return
    module = importlib.import_module(module_of(name))
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner(_AnyBackend(), optionflags=doctest.NORMALIZE_WHITESPACE)
    names = {"np": np, "keras": keras, **vars(module)}
    report = []
    for example in finder.find(module, globs=names):
        runner.run(example, out=report.append)
    assert runner.failures == 0, "".join(report)
    assert runner.tries > 0
