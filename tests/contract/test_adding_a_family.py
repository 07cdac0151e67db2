"""docs/adding_a_family.md, performed: its code in a copy of the repository, and its commands."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "adding_a_family.md").read_text(encoding="utf-8")
# What layers are called in KerasHub is asked of families that it has.
UNKNOWN_TO_KERAS_HUB = "names_of_kerashub"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, flags=re.DOTALL)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs a command in a copy of the repository that has the family."""
    copy = tmp_path_factory.mktemp("repository")
    ignored = shutil.ignore_patterns("__pycache__", "example_presets")
    for folder in ("clozework", "tests", "docs"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, copy / name)
    family_file = copy / "clozework" / "models" / "nutshell.py"
    family_file.write_text("\n\n".join(blocks("python")), encoding="utf-8")
    change = re.search(r"^\+(.*\n) (.*\n)", blocks("diff")[0], flags=re.MULTILINE)
    added, following = change.groups()
    families = copy / "clozework" / "models" / "__init__.py"
    text = families.read_text(encoding="utf-8")
    assert text.count(following) == 1
    families.write_text(text.replace(following, added + following), encoding="utf-8")

    def run(*arguments: str) -> str:
        result = subprocess.run(
            [sys.executable, *arguments],
            cwd=copy,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(copy)},
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    return run


@pytest.mark.slow  # runs some sixty contract tests in a process of their own
def test_the_contract_tests_pass_for_the_family(run):
    command = blocks("sh")[0].split("\n")[0]
    selected = re.search('-k "(.*)"', command)[1]
    assert command.startswith("python -m pytest tests/contract -k")
    files = [
        f"tests/contract/test_{name}.py" for name in ("encoders", "layering", "saving", "style")
    ]
    output = run(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *files),
        *("-k", f"({selected}) and not {UNKNOWN_TO_KERAS_HUB}"),
    )
    assert re.search(r"\b[3-9]\d passed", output)


def test_the_command_line_lists_the_family(run):
    code = "from clozework.cli import main; main()"
    assert "nutshell_small_en" in run("-c", code, "presets", "--family", "Nutshell")


def test_the_stated_number_of_parameters_is_exact(run):
    code = (
        "import clozework.models as models; from clozework.tasks import describe_preset; "
        "name, = models.NutshellBackbone.presets; "
        "print(models.NutshellBackbone.presets[name]['metadata']['params'], "
        "describe_preset(name).parameters)"
    )
    stated, counted = run("-c", code).split()
    assert stated == counted


def test_the_family_comes_into_the_generated_documents(run, tmp_path):
    run(*blocks("sh")[1].split()[1:])
    readme = run("-c", "print(open('README.md', encoding='utf-8').read())")
    assert "| Nutshell | 1 | 13 M | fill masks, classify |" in readme


def test_the_code_is_formatted_and_linted(run):
    run("-m", "ruff", "check", "clozework/models")
    run("-m", "ruff", "format", "--check", "clozework/models/nutshell.py")
