"""Imports point down only; islands don't know each other; outside packages have their places."""

import ast
import functools
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "clozework"

BOTTOM = {
    "backend",
    "caches",
    "chosen_backend",
    "errors",
    "kernels",
    "openvino_graphs",
    "start_up",
    "reading_ahead",
    "traced_layers",
}
ISLANDS = {"data", "layers", "losses", "presets", "samplers", "tokenizers"}
# Part of the package -> the other parts that it may import.
MAY_IMPORT = {
    "errors": set(),
    "caches": set(),
    "start_up": set(),
    "reading_ahead": set(),
    "openvino_graphs": set(),
    "traced_layers": set(),
    "backend": {"caches", "errors", "openvino_graphs", "traced_layers"},
    "kernels": set(),
    "chosen_backend": {"errors"},
    **dict.fromkeys(ISLANDS, BOTTOM),
    # The one bridge: a tokenizer loads itself from a preset.
    "tokenizers": BOTTOM | {"presets"},
    "tasks": BOTTOM | ISLANDS,
    "models": BOTTOM | ISLANDS | {"tasks"},
    "callbacks": BOTTOM | ISLANDS | {"tasks"},
    "bulk": BOTTOM,
    "training": BOTTOM | ISLANDS | {"tasks", "models", "bulk"},
    "cli": BOTTOM | ISLANDS | {"tasks", "models", "bulk", "training"},
    "__main__": {"cli"},
    "server": BOTTOM | ISLANDS | {"tasks", "models"},
}

# Outside package -> the modules that may import it.
PLACES = {
    "huggingface_hub": {"presets.handle", "caches"},
    "kagglehub": {"presets.handle"},
    "tensorflow": {"data.tensorflow"},
    "jax": {"backend", "kernels", "traced_layers"},
    "torch": {"backend", "kernels"},
    "openvino": {"kernels", "openvino_graphs"},
    "h5py": {"presets.h5_weights"},
    "pickle": set(),
    "transformers": set(),
}

# Modules that the command line's own modules may import when they are imported themselves.
CHEAP = {"cli", "errors", "caches", "chosen_backend", "clozework", "start_up"}


def modules() -> dict[str, Path]:
    """Dotted name below `clozework` -> file; the package itself is `clozework`."""
    names = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        names[".".join(parts) or "clozework"] = path
    return names


MODULES = modules()


@functools.cache
def imports(name: str, *, at_import_only: bool = False) -> tuple[str, ...]:
    """Returns what a module imports: `clozework.x.y` or an outside package's dotted name."""
    return tuple(_imports(name, at_import_only))


def _imports(name: str, at_import_only: bool) -> Iterator[str]:
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    inside_functions = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if at_import_only and id(node) in inside_functions:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            yield from (_imported(str(node.module), alias.name) for alias in node.names)


def _imported(module: str, name: str) -> str:
    """`from a import b` imports the module `a.b` where there is one, else `a`."""
    inner = f"{module}.{name}".removeprefix("clozework.")
    return f"{module}.{name}" if module.startswith("clozework") and inner in MODULES else module


def own_imports(name: str, **options) -> set[str]:
    """The modules of ours that a module imports, as names in `MODULES`."""
    return {
        imported.removeprefix("clozework.")
        for imported in imports(name, **options)
        if imported.split(".")[0] == "clozework"
    }


def part_of(name: str) -> str:
    return name.split(".")[0]


@pytest.mark.parametrize("name", [name for name in MODULES if name != "clozework"])
def test_imports_point_down_only(name):
    part = part_of(name)
    above = {
        imported
        for imported in own_imports(name)
        if part_of(imported) not in MAY_IMPORT[part] | {part, "clozework"}
    }
    assert not above, f"{name} may not import {sorted(above)}"


def test_every_part_of_the_package_has_its_place_in_the_layers():
    parts = {part_of(name) for name in MODULES} - {"clozework"}
    assert parts <= set(MAY_IMPORT)


def test_the_package_itself_imports_only_what_comes_before_keras():
    assert own_imports("clozework") == {"chosen_backend", "start_up"}


def test_no_two_modules_need_each_other_to_be_imported():
    graph = {name: own_imports(name, at_import_only=True) for name in MODULES}
    # Importing a.b imports a first, but a may well import a.b: only modules themselves count.
    packages = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    for name in graph:
        graph[name] -= packages
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize(
    "name", [name for name in MODULES if part_of(name) not in ("cli", "server")]
)
def test_no_import_inside_a_function_dodges_a_cycle(name):
    hidden = own_imports(name) - own_imports(name, at_import_only=True)
    assert not hidden, f"{name} imports {sorted(hidden)} inside a function"


@pytest.mark.parametrize("name", [name for name in MODULES if part_of(name) == "cli"])
def test_the_command_line_waits_for_no_model(name):
    needed = {part_of(imported) for imported in own_imports(name, at_import_only=True)}
    assert needed <= CHEAP
    outside = {part_of(imported) for imported in imports(name, at_import_only=True)} - {"clozework"}
    assert not outside & {"keras", "jax", "torch", "numpy", "rich", "huggingface_hub"}


@pytest.mark.parametrize("package", PLACES)
def test_an_outside_package_has_its_place(package):
    users = {name for name in MODULES for found in imports(name) if part_of(found) == package}
    assert users <= PLACES[package]


def test_tokenizers_know_no_models():
    users = {
        name
        for name in MODULES
        if part_of(name) == "tokenizers"
        for found in imports(name)
        if part_of(found) in ("keras", "jax", "torch", "tensorflow")
    }
    assert not users
