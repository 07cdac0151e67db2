"""Public names and signatures: KerasHub's, then more; and none changes unnoticed."""

import ast
import inspect
from operator import attrgetter
from pathlib import Path

import pytest

import clozework

GOLDEN = Path(__file__).parents[1] / "golden"
KERAS_HUB = [
    line
    for line in (GOLDEN / "keras_hub_api.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]
# What KerasHub has and Clozework has not, and why.
ABSENT = {
    "models.Preprocessor.from_preset": "a preset holds one preprocessor, so it needs no name",
    "models.Task.load_task_weights": "heads are stored with their presets",
    "models.Task.save_task_weights": "heads are stored with their presets",
    "tokenizers.BytePairTokenizer.load_preset_assets": "from_preset loads them",
    "tokenizers.SentencePieceTokenizer.load_preset_assets": "from_preset loads them",
    "tokenizers.WordPieceTokenizer.load_preset_assets": "from_preset loads them",
}
# Arguments of every Keras layer, which KerasHub hands on as **kwargs.
OF_KERAS = {"name", "dtype", "trainable"}


def parameters_of(public) -> list[inspect.Parameter]:
    """The parameters of a function, or of a class's constructor, without `self`."""
    if inspect.isclass(public):
        return list(inspect.signature(public.__init__).parameters.values())[1:]
    parameters = list(inspect.signature(public).parameters.values())
    return [parameter for parameter in parameters if parameter.name != "self"]


def stated_parameters(text: str) -> list[inspect.Parameter]:
    """The parameters in `"(x, y=None, *, z=0, **kwargs)"`; all defaults are literals."""
    arguments = ast.parse(f"def stated{text}: ...").body[0].args
    positional = [argument.arg for argument in arguments.args]
    defaults = [inspect.Parameter.empty] * (len(positional) - len(arguments.defaults))
    defaults += [ast.literal_eval(value) for value in arguments.defaults]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    stated = [
        inspect.Parameter(name, kind, default=default)
        for name, default in zip(positional, defaults, strict=True)
    ]
    kind = inspect.Parameter.KEYWORD_ONLY
    for argument, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        stated.append(inspect.Parameter(argument.arg, kind, default=ast.literal_eval(value)))
    return stated


@pytest.mark.parametrize("line", [line for line in KERAS_HUB if line.split("(")[0] not in ABSENT])
def test_arguments_and_defaults_are_keras_hubs(line):
    name, parenthesis, rest = line.partition("(")
    public = attrgetter(name)(clozework)
    if not parenthesis:
        return
    theirs = stated_parameters(f"({rest}")
    ours = [p for p in parameters_of(public) if p.kind is not inspect.Parameter.VAR_KEYWORD]
    assert [p.name for p in ours][: len(theirs)] == [p.name for p in theirs]
    for mine, stated in zip(ours, theirs, strict=False):
        # An argument that is required there may have a default here.
        if stated.default is not inspect.Parameter.empty:
            assert mine.default == stated.default, mine.name
        if stated.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
            assert mine.kind is stated.kind, mine.name
    added = {
        parameter.name
        for parameter in ours[len(theirs) :]
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    }
    assert added <= OF_KERAS, f"ours alone, and not keyword-only: {added}"


@pytest.mark.parametrize("name", ABSENT)
def test_what_is_listed_as_absent_is_absent(name):
    line = next(line for line in KERAS_HUB if line.split("(")[0] == name)
    with pytest.raises((AttributeError, AssertionError)):
        test_arguments_and_defaults_are_keras_hubs(line)
