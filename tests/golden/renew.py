"""Renews everything in the repository that is made from the code: `python -m tests.golden.renew`.

The contract tests fail while one of these files says something else than the code. What this
changes is reviewed like any other change.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from click.testing import CliRunner

import clozework
from clozework import bulk, callbacks, layers, losses, models, samplers, tokenizers, training
from clozework.cli import application
from clozework.presets import families

__all__ = ["GENERATED", "command_line", "public_api", "readme"]

ROOT = Path(__file__).parents[2]
_WIDTH = 90
_VERBS = {
    "MaskedLM": "fill masks",
    "Seq2SeqLM": "summarise",
    "CausalLM": "generate",
    "TextClassifier": "classify",
    "TextEmbedder": "embed",
    "TokenClassifier": "tag",
    "QuestionAnswerer": "answer questions",
}


def public_api() -> str:
    """Every public name with its signature, and the methods that a class itself defines."""
    lines = []
    for module in (clozework, layers, models, samplers, tokenizers):
        for name in module.__all__:
            public = getattr(module, name)
            qualified = f"{module.__name__}.{name}"
            if inspect.isclass(public):
                lines.append(f"{qualified}{_signature(public.__init__)}")
                lines += (f"{qualified}.{member}" for member in _members(public))
            else:
                lines.append(f"{qualified}{_signature(public) if callable(public) else ''}")
    return "\n".join(lines) + "\n"


def command_line() -> str:
    """The help of every command."""
    sections = [
        "# The command line\n\nWhat `--help` prints; renewed by `python -m tests.golden.renew`."
    ]
    for command in ([], *([name] for name in application.commands)):
        result = CliRunner().invoke(
            application, [*command, "--help"], prog_name="clozework", terminal_width=_WIDTH
        )
        title = " ".join(["clozework", *command])
        sections.append(f"## {title}\n\n```\n{result.output.rstrip()}\n```")
    return "\n\n".join(sections) + "\n"


def readme() -> str:
    """README.md with its table of families renewed."""
    rows = [
        f"| {family.title} | {len(family.presets)} | {_sizes(family)} | {_abilities(family)} |"
        for family in families()
    ]
    table = "\n".join(
        ["| family | built-in models | parameters | can |", "| --- | --- | --- | --- |", *rows]
    )
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.sub(
        r"(<!-- families: [^>]*-->\n).*?(<!-- /families -->)",
        rf"\1{table}\n\2",
        text,
        flags=re.DOTALL,
    )


def reference(title: str, *modules) -> Callable[[], str]:
    """Returns what makes a page of the reference: every class and function of some modules."""

    def page() -> str:
        names = dict.fromkeys(name for module in modules for name in _documented(module))
        blocks = [f"::: {name}" for name in names]
        return "\n\n".join([f"# {title}", *blocks]) + "\n"

    return page


GENERATED = {
    "README.md": readme,
    "docs/api/layers.md": reference("Layers", layers),
    "docs/api/models.md": reference("Models and tasks", models),
    "docs/api/samplers.md": reference("Samplers", samplers),
    "docs/api/tokenizers.md": reference("Tokenizers", tokenizers),
    "docs/api/training.md": reference(
        "Training, and large files", training, bulk, callbacks, losses
    ),
    "docs/command_line.md": command_line,
    "tests/golden/public_api.txt": public_api,
}


def _signature(function) -> str:
    parameters = list(inspect.signature(function).parameters.values())
    if parameters and parameters[0].name == "self":
        parameters = parameters[1:]
    # Types are for readers and checkers; a caller notices names, kinds and defaults.
    plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters]
    return str(inspect.Signature(plain))


def _members(cls: type) -> Iterator[str]:
    for name, member in sorted(vars(cls).items()):
        if name.startswith("_"):
            continue
        function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if inspect.isfunction(function):
            yield f"{name}{_signature(getattr(cls, name))}"
        elif isinstance(member, property):
            yield name


def _documented(module) -> Iterator[str]:
    """Yields where the public classes and functions of a module are defined, each once."""
    for name in module.__all__:
        public = getattr(module, name)
        is_documented = inspect.isclass(public) or inspect.isfunction(public)
        if is_documented and public.__module__.startswith("clozework."):
            yield f"{public.__module__}.{public.__qualname__}"


def _sizes(family) -> str:
    counts = sorted(preset.parameters for preset in family.presets)
    sizes = dict.fromkeys(f"{count / 1e6:.0f} M" for count in (counts[0], counts[-1]))
    return " to ".join(sizes)


def _abilities(family) -> str:
    return ", ".join(_VERBS[task.kind] for task in family.tasks)


if __name__ == "__main__":
    for path, generate in GENERATED.items():
        (ROOT / path).write_text(generate(), encoding="utf-8")
