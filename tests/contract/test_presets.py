"""Built-in presets, `presets`, aliases, and how `from_preset` finds the class that is meant."""

import json
import re
import socket
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from clozework import models, tokenizers
from clozework.backend import unallocated_variables
from clozework.errors import ClozeworkWarning, ConfigError, PresetError, PresetNotFoundError
from clozework.presets import families, registered_class
from clozework.tasks.arguments import argument_defaults
from tests.contract.families import (
    FAMILIES,
    TASKS,
    assert_same_outputs,
    has_classifier,
    main_task,
    random_inputs,
    tiny_backbone,
    tiny_preprocessor,
    tiny_task,
    tiny_tokenizer,
)

KERAS_HUB_API = Path(__file__).parents[1] / "golden" / "keras_hub_api.txt"
BUILT_IN = {preset.name: (family, preset) for family in families() for preset in family.presets}
# The first preset of each architecture: many share one.
ARCHITECTURES = {(f.name, repr(p.config)): name for name, (f, p) in reversed(BUILT_IN.items())}
# Parameters in millions, and in full, as KerasHub's documentation and its models state them.
DOCUMENTED = {
    "bart_base_en": ("139.42M", 139417344),
    "bart_large_en": ("406.29M", 406287360),
    "bart_large_en_cnn": ("406.29M", 406286336),
    "deberta_v3_extra_small_en": ("70.68M", 70682112),
    "deberta_v3_small_en": ("141.30M", 141304320),
    "deberta_v3_base_en": ("183.83M", 183831552),
    "deberta_v3_large_en": ("434.01M", 434012160),
    "deberta_v3_base_multi": ("278.22M", 278218752),
    "distil_bert_base_en_uncased": ("66.36M", 66362880),
    "distil_bert_base_en": ("65.19M", 65190912),
    "distil_bert_base_multi": ("134.73M", 134734080),
    "gemma_2b_en": ("2506.17M", 2506172416),
    "gemma_7b_en": ("8537.68M", 8537680896),
    "roberta_base_en": ("124.05M", 124052736),
    "roberta_large_en": ("354.31M", 354307072),
    "xlm_roberta_base_multi": ("277.45M", 277450752),
    "xlm_roberta_large_multi": ("558.84M", 558837760),
}


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*arguments, **options):
        raise OSError("the network is unreachable")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


@pytest.fixture(scope="module")
def saved(family, tmp_path_factory):
    """A directory with the main task of a family."""
    directory = tmp_path_factory.mktemp("saved") / "preset"
    tiny_task(main_task(family)).save_to_preset(directory)
    return directory


@pytest.mark.parametrize("name", sorted(ARCHITECTURES.values()))
def test_built_in_presets_have_the_parameters_that_are_listed(name):
    family, preset = BUILT_IN[name]
    same = [other for other in family.presets if other.config == preset.config]
    tracemalloc.start()
    with unallocated_variables():
        backbone = family.backbone(**preset.config)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert {other.parameters for other in same} == {backbone.count_params()}
    assert all(variable._value is None for variable in backbone.weights)
    # The smallest of these models has 17 MB of weights.
    assert peak < 16e6


@pytest.mark.parametrize("name", DOCUMENTED)
def test_documented_presets_have_the_documented_parameters(name):
    in_millions, parameters = DOCUMENTED[name]
    assert BUILT_IN[name][1].parameters == parameters
    assert f"{parameters / 1e6:.2f}M" == in_millions


def test_every_preset_of_kerashub_is_there():
    counts = {name: sum(f.name == name for f, _ in BUILT_IN.values()) for name in FAMILIES}
    # DeBERTaV3's has the embedded one besides.
    expected = {
        "albert": 4,
        "bart": 3,
        "bert": 36,
        "distil_bert": 3,
        "electra": 6,
        "f_net": 2,
        "gemma": 17,
        "modern_bert": 2,
        "mpnet": 2,
        "roberta": 2,
        "xlm_roberta": 5,
        "deberta_v3": 5 + 1,
    }
    assert counts == {**counts, **expected}


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_presets_say_what_they_are_and_where_they_come_from(name):
    family, preset = BUILT_IN[name]
    assert preset.description.startswith(family.title)
    # KerasHub has neither ModernBERT nor MPNet.
    if not preset.embedded and family.name not in ("modern_bert", "mpnet"):
        assert re.fullmatch(rf"kaggle://keras/.+/keras/{name}/\d", preset.kaggle)
    assert preset.embedded or preset.handles
    assert preset.hugging_face is None or preset.hugging_face.startswith("hf://")


def test_an_architecture_needs_no_network(monkeypatch):
    opened = []
    monkeypatch.setattr(socket, "socket", lambda *arguments, **options: opened.append(arguments))
    backbone = models.Backbone.from_preset("bert_tiny_en_uncased", load_weights=False)
    assert isinstance(backbone, models.BertBackbone)
    assert backbone.count_params() == 4385920
    assert not opened
    embeddings = backbone.token_embedding.get_weights()[0]
    assert np.std(embeddings) == pytest.approx(0.0176, rel=0.05)


@pytest.mark.usefixtures("no_network")
def test_a_task_without_weights_needs_no_network_either():
    with pytest.warns(ClozeworkWarning, match="has no preprocessor, as the tokenizer"):
        classifier = models.TextClassifier.from_preset(
            "bert_tiny_en_uncased", load_weights=False, num_classes=2
        )
    assert isinstance(classifier, models.BertTextClassifier)
    assert classifier.preprocessor is None


def test_presets_lists_what_from_preset_takes(family):
    names = [preset.name for preset in family.presets]
    for cls in family.classes:
        # XLM-RoBERTa's classes are below RoBERTa's.
        below = [f for f in families() if any(issubclass(other, cls) for other in f.classes)]
        assert list(cls.presets) == [preset.name for f in below for preset in f.presets]
        assert family in below
    record = family.backbone.presets[names[0]]
    assert record["metadata"]["params"] == family.presets[0].parameters
    assert record["metadata"]["path"] == family.name
    assert record["kaggle_handle"] == family.presets[0].kaggle
    assert set(names) <= set(models.Backbone.presets)
    assert set(names) <= set(getattr(models, main_task(family).kind).presets)


def test_every_class_and_alias_is_public(family):
    for cls in family.classes:
        assert getattr(models, cls.__name__) is cls
        assert registered_class(cls.__name__) is cls
    for alias, cls in family.aliases.items():
        assert getattr(models, alias) is cls
        assert registered_class(alias) is cls
    assert getattr(tokenizers, family.tokenizer.__name__) is family.tokenizer


def test_aliases_are_those_of_kerashub(family):
    stem = family.backbone.__name__.removesuffix("Backbone")
    names = {
        f"{stem}Classifier": f"{stem}TextClassifier",
        f"{stem}Preprocessor": f"{stem}TextClassifierPreprocessor",
    }
    of_keras_hub = KERAS_HUB_API.read_text(encoding="utf-8")
    expected = {
        old: getattr(models, name)
        for old, name in names.items()
        if f"models.{old}(" in of_keras_hub
    }
    assert dict(family.aliases) == expected
    assert models.Classifier is models.TextClassifier


def test_base_classes_find_the_class_of_the_family(family, saved):
    stem = family.backbone.__name__.removesuffix("Backbone")
    kind = main_task(family).kind
    found = {
        models.Backbone: "Backbone",
        models.Task: kind,
        getattr(models, kind): kind,
        models.Preprocessor: f"{kind}Preprocessor",
        getattr(models, f"{kind}Preprocessor"): f"{kind}Preprocessor",
        models.Tokenizer: "Tokenizer",
    }
    if has_classifier(family):
        found[models.TextClassifierPreprocessor] = "TextClassifierPreprocessor"
    for base, suffix in found.items():
        assert type(base.from_preset(saved)).__name__ == f"{stem}{suffix}"
    if not has_classifier(family):
        return
    with pytest.warns(ClozeworkWarning, match="has no head for .*TextClassifier; it is random"):
        classifier = models.TextClassifier.from_preset(saved, num_classes=2)
    assert type(classifier).__name__ == f"{stem}TextClassifier"


def test_a_string_is_as_good_as_a_path(family, saved):
    assert_same_outputs(
        family.backbone.from_preset(str(saved)),
        family.backbone.from_preset(saved),
        random_inputs(family, [5]),
    )


def test_arguments_go_to_the_part_that_has_them(family, saved):
    task_cls = main_task(family)
    of_preprocessor = dict.fromkeys(task_cls.preprocessor_cls.length_names, 9)
    of_task = {"head_activation": "relu"} if task_cls.kind == "MaskedLM" else {}
    task = task_cls.from_preset(
        saved, dropout=0.25, name="mine", trainable=False, **of_preprocessor, **of_task
    )
    assert {name: getattr(task.preprocessor, name) for name in of_preprocessor} == of_preprocessor
    assert task.backbone.dropout == 0.25
    assert {name: task.arguments[name] for name in of_task} == of_task
    assert task.name == "mine"
    assert not task.backbone.trainable


def test_a_new_head_takes_no_longer_texts_than_the_model(family, saved):
    if not has_classifier(family):
        return
    preprocessor = models.TextClassifierPreprocessor.from_preset(saved)
    assert preprocessor.sequence_length == 16


def test_a_classifier_needs_a_number_of_classes(family, saved):
    if not has_classifier(family):
        return
    with pytest.raises(ConfigError, match=r"needs `num_classes`: .* holds no such head"):
        models.TextClassifier.from_preset(saved)


def test_unknown_arguments_are_named(family, saved):
    with pytest.raises(ConfigError, match=r"no argument 'droput' \(did you mean 'dropout'\?\)"):
        main_task(family).from_preset(saved, droput=0.1)
    with pytest.raises(ConfigError, match="no argument 'num_layer'"):
        models.Backbone.from_preset(saved, num_layer=3)
    with pytest.raises(ConfigError, match=r"no argument 'foo'.*It has: vocab\w+, num_layers"):
        tiny_backbone(family, foo=1)
    task_cls = family.tasks[0]
    with pytest.raises(ConfigError, match="no argument 'preprocesor'"):
        task_cls(tiny_backbone(family), preprocesor=None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_layers": -1}, "`num_layers` must be a positive integer, not -1"),
        ({"num_layers": 0}, "`num_layers` must be a positive integer, not 0"),
        ({"hidden_dim": 8.0}, "`hidden_dim` must be a positive integer, not 8.0"),
        ({"max_sequence_length": "9"}, "`max_sequence_length` must be a positive integer, not '9'"),
        ({"dropout": 1.5}, "`dropout` must be at least 0 and less than 1, not 1.5"),
        ({"activation": "gelru"}, "Activation 'gelru' is not known. Known are: "),
    ],
)
def test_impossible_architectures_are_refused(family, changes, message):
    if not changes.keys() <= argument_defaults(family.backbone).keys():
        return
    with pytest.raises(ConfigError, match=message):
        tiny_backbone(family, **changes)


def test_heads_have_to_divide_the_width(family):
    if "num_heads" not in argument_defaults(family.backbone):
        return
    message = "`num_heads` must divide `hidden_dim`, but 8 is not a multiple of 3"
    with pytest.raises(ConfigError, match=message):
        tiny_backbone(family, num_heads=3)


def test_a_missing_argument_is_named(family):
    defaults = argument_defaults(family.backbone).values()
    required = {p.name: 2 for p in defaults if p.default is p.empty}
    del required["intermediate_dim"]
    with pytest.raises(ConfigError, match="missing a required argument: 'intermediate_dim'"):
        family.backbone(**required)


def other_family(family):
    return FAMILIES["roberta" if family.name == "bert" else "bert"]


def test_presets_of_another_family_are_refused(family, saved):
    other = other_family(family)
    name = family.backbone.__name__
    with pytest.raises(PresetError, match=f"holds a {name}, which is no {other.backbone.__name__}"):
        other.backbone.from_preset(saved)
    for cls in (*other.tasks, *(task.preprocessor_cls for task in other.tasks)):
        with pytest.raises(
            PresetError, match=f"holds a {name}, for which there is no {cls.__name__}"
        ):
            cls.from_preset(saved)
    with pytest.raises(PresetError, match=f"which is no {other.tokenizer.__name__}"):
        other.tokenizer.from_preset(saved)


def test_parts_of_another_family_are_refused(family):
    other = other_family(family)
    for task_cls in family.tasks:
        options = {"num_classes": 2} if "num_classes" in argument_defaults(task_cls) else {}
        with pytest.raises(
            ConfigError, match=f"needs a {family.backbone.__name__} as its backbone"
        ):
            task_cls(tiny_backbone(other), **options)
        same_kind = (task for task in other.tasks if task.kind == task_cls.kind)
        foreign = next(same_kind, main_task(other))
        with pytest.raises(ConfigError, match=f"needs a {task_cls.preprocessor_cls.__name__}"):
            task_cls(tiny_backbone(family), preprocessor=tiny_preprocessor(foreign), **options)


def test_unknown_names_are_met_with_similar_ones():
    with pytest.raises(PresetNotFoundError, match="Did you mean 'bert_base_en'"):
        models.Backbone.from_preset("bert_base_n")
    with pytest.raises(PresetNotFoundError, match=r"'xyz' not found.*`clozework presets` lists"):
        models.Task.from_preset("xyz")


def test_a_config_that_names_an_unknown_class_is_refused(saved, tmp_path):
    record = json.loads((saved / "config.json").read_text())
    for name in ("keras_hub>LlamaBackbone", "os>system", "keras_hub>"):
        record["registered_name"] = name
        (tmp_path / "config.json").write_text(json.dumps(record))
        with pytest.raises(PresetError, match=f"holds a '{name}', which Clozework does not have"):
            models.Backbone.from_preset(tmp_path)


@pytest.mark.parametrize("name", ["a/b", 3, ["a"]])
def test_a_name_that_no_model_can_have_is_refused(saved, tmp_path, name):
    record = json.loads((saved / "config.json").read_text())
    record["config"]["name"] = name
    (tmp_path / "config.json").write_text(json.dumps(record))
    with pytest.raises(PresetError, match="The 'name' in 'config.json' of .* without '/'. Correct"):
        models.Backbone.from_preset(tmp_path)


def test_a_directory_of_something_else_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "gpt_neox"}')
    with pytest.raises(PresetError, match="of type 'gpt_neox', which Clozework does not have"):
        models.Backbone.from_preset(tmp_path)
    (tmp_path / "config.json").write_text('{"hidden_size": 8}')
    with pytest.raises(PresetError, match=r"neither KerasHub's .* nor Hugging Face's"):
        models.Backbone.from_preset(tmp_path)


def test_a_preset_without_a_tokenizer_says_so(family, tmp_path):
    tiny_backbone(family).save_to_preset(tmp_path / "preset")
    with pytest.raises(PresetNotFoundError, match=r"has no tokenizer\. Pass `preprocessor=None`"):
        main_task(family).from_preset(tmp_path / "preset")
    with pytest.raises(PresetNotFoundError, match="has no tokenizer"):
        models.Tokenizer.from_preset(tmp_path / "preset")
    if main_task(family).kind == "MaskedLM":
        with pytest.warns(ClozeworkWarning, match="has no head"):
            models.MaskedLM.from_preset(tmp_path / "preset", preprocessor=None)
    else:
        main_task(family).from_preset(tmp_path / "preset", preprocessor=None)


def test_special_tokens_have_the_same_order_in_every_process(family):
    tokenizer = tiny_tokenizer(family)
    roles = family.tokenizer.special_tokens_by_role
    assert tokenizer.special_tokens == list(dict.fromkeys(roles.values()))
    assert tokenizer.special_token_ids == [
        tokenizer.token_to_id(token) for token in tokenizer.special_tokens
    ]
    mask = roles.get("mask")
    assert tokenizer.mask_token_id == (mask and tokenizer.token_to_id(mask))


def test_every_task_is_one_of_the_known_kinds():
    kinds = {
        *("CausalLM", "MaskedLM", "QuestionAnswerer", "Seq2SeqLM"),
        *("TextClassifier", "TextEmbedder", "TokenClassifier"),
    }
    assert {task.kind for task in TASKS.values()} == kinds
    assert Path(models.__file__).name == "__init__.py"
