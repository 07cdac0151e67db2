"""What the documents say is what the code does."""

import re
import shlex
import tomllib
import warnings
from pathlib import Path

import pytest
from click.testing import CliRunner

from clozework.cli import application
from clozework.errors import ClozeworkWarning
from tests.golden.renew import GENERATED

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
)
# Title and code of each block of Python.
_BLOCK = re.compile(r"```python([^\n]*)\n(.*?)```", flags=re.DOTALL)


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# The blocks of the others have tests of their own.
PAGES = [
    name
    for name in DOCUMENTS
    if name.startswith("docs/")
    and name != "docs/adding_a_family.md"
    and "```python" in text_of(name)
]


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_file_is_up_to_date(name):
    assert text_of(name) == GENERATED[name](), "renew it with: python -m tests.golden.renew"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text_of(name))
    missing = [
        link
        for link in links
        if "://" not in link and not (ROOT / name).parent.joinpath(link).exists()
    ]
    assert not missing


def test_readme_names_every_command():
    named = set(re.findall(r"clozework (\w+)", text_of("README.md")))
    assert set(application.commands) <= named


def test_readme_says_why_each_package_is_needed():
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    packages = {re.match(r"[\w-]+", needed)[0] for needed in project["dependencies"]}
    explained = set(re.findall(r"\*\*([\w-]+)\*\*", text_of("README.md")))
    assert packages <= explained


def test_ci_runs_the_test_command_of_the_readme():
    install, test = re.search(
        r"pip install (.*\[test\]\") && (pytest.*)", text_of("README.md")
    ).groups()
    assert '".[test]"' in install
    assert f"python -m {test}\n" in text_of(".ci/run")
    assert f"install --quiet {install.split()[-1]}" in text_of(".ci/run")


def test_news_fragments_are_named_and_written_for_users():
    fragments = list((ROOT / "changelog.d").iterdir())
    assert fragments
    for fragment in fragments:
        assert re.fullmatch(r"[a-z0-9_]+\.(added|changed|fixed|removed)\.md", fragment.name)
        text = fragment.read_text(encoding="utf-8")
        assert text.strip().endswith(".")
        assert len(text) < 400


def test_the_answer_in_readme_is_the_real_one():
    command, answer = re.search(
        r"\n    \$ clozework (fill .*)\n((?:    .*\n|\n)+)", text_of("README.md")
    ).groups()
    printed = CliRunner().invoke(application, shlex.split(command)).stdout
    # The last digit of a probability depends on the machine; words and their order do not.
    assert words_of(printed) == words_of(answer)


def words_of(text: str) -> list[str]:
    return [word for word in text.split() if not word.endswith("%")]


@pytest.mark.slow  # trains, saves and exports the model that comes with the package
def test_the_python_example_in_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example = re.search(r"```python\n(.*?)```", text_of("README.md"), flags=re.DOTALL)[1]
    names = {}
    with warnings.catch_warnings():
        # It says that the head is new.
        warnings.simplefilter("ignore", ClozeworkWarning)
        exec(example, names)
    assert len(names["filled"].masks[0].candidates) == 3
    assert (tmp_path / "film_classifier_hf" / "model.safetensors").is_file()


@pytest.mark.slow  # trains the model that comes with the package for each of its jobs
@pytest.mark.parametrize("name", PAGES)
def test_the_examples_of_a_page_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    with warnings.catch_warnings():
        # It says that heads are new.
        warnings.simplefilter("ignore", ClozeworkWarning)
        for title, block in re.findall(_BLOCK, text_of(name)):
            # KerasHub needs TensorFlow, and its block a preset from the net.
            if "KerasHub" not in title and "roberta_base_en" not in block:
                exec(compile(block, name, "exec"), names)


@pytest.mark.parametrize("name", PAGES)
def test_clozework_is_imported_before_keras(name):
    # Otherwise Keras takes TensorFlow, where it finds no setting.
    code = "\n".join(block for _, block in re.findall(_BLOCK, text_of(name)))
    places = [match.start() for match in re.finditer(r"^import keras\b", code, flags=re.MULTILINE)]
    assert all("clozework import" in code[:place] for place in places)


def test_the_site_has_every_page():
    site = tomllib.loads(text_of("zensical.toml"))["project"]
    pages = set(pages_of(site["nav"]))
    assert pages == {name.removeprefix("docs/") for name in DOCUMENTS if name.startswith("docs/")}


def pages_of(nav):
    for entry in nav:
        for place in entry.values():
            if isinstance(place, str):
                yield place
            else:
                yield from pages_of(place)
