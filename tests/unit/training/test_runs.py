"""From a file to a model, at once and after a kill."""

import json

import keras
import numpy as np
import pytest

from clozework import models, training
from clozework.errors import ConfigError
from clozework.training import TrainingOptions, plan_training

WORDS = {"good": ["fine", "great", "lovely"], "bad": ["dull", "poor", "boring"]}
ROWS = [
    (f"a {word} {what} number {i}", label)
    for i in range(4)
    for label, words in WORDS.items()
    for word in words
    for what in ("film", "book")
]
OPTIONS = TrainingOptions(epochs=2, batch_size=8, sequence_length=16)


class Killed(BaseException):
    """What stands for the end of the process."""


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "reviews.csv"
    lines = [",".join(row) for row in ROWS]
    path.write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(reviews, tmp_path_factory):
    """Directory of a model and what its training returned."""
    directory = tmp_path_factory.mktemp("models") / "reviews"
    return directory, plan_training(reviews, OPTIONS).run(directory, verbose=0)


def weights_of(directory):
    classifier = models.TextClassifier.from_preset(directory)
    return [keras.ops.convert_to_numpy(variable.value) for variable in classifier.weights]


def test_what_was_trained_is_used_by_its_directory(trained):
    directory, result = trained
    classifier = models.TextClassifier.from_preset(directory)
    assert classifier.label_names == ["bad", "good"]
    assert len(result.history["val_loss"]) == 2
    assert result.best["val_loss"] == min(result.history["val_loss"])
    record = json.loads((directory / "training.json").read_text("utf-8"))
    assert record["columns"] == {"text": "text", "label": "label"}
    assert record["history"] == result.history
    assert "AdamW" in (directory / "README.md").read_text("utf-8")
    assert [path.name for path in directory.parent.iterdir()] == [directory.name]


@pytest.mark.parametrize("after", [2, 7])
def test_a_training_that_was_killed_gives_the_same_model(reviews, trained, tmp_path, after):
    directory, result = trained
    left = [after]

    class Killer(keras.callbacks.EarlyStopping):
        def on_train_batch_end(self, batch, logs=None):
            left[0] -= 1
            if left[0] == 0:
                raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.callbacks, "EarlyStopping", Killer)
        Killer.__name__ = "EarlyStopping"
        with pytest.raises(Killed):
            plan_training(reviews, OPTIONS).run(tmp_path / "model", verbose=0, every_seconds=0)
    assert not (tmp_path / "model").exists()
    keras.utils.set_random_seed(99)
    told = []
    seen = []
    again = plan_training(reviews, OPTIONS).run(
        tmp_path / "model", verbose=0, on_message=told.append, on_progress=seen.append
    )
    # What was done before the kill counts; its last step may be done again.
    num_steps = OPTIONS.epochs * -(-len(plan_training(reviews).split.training) // 8)
    assert seen[0].share * num_steps == pytest.approx(after, abs=1)
    assert told[0] == "Going on with the training that was interrupted."
    assert again.history == result.history
    for value, expected in zip(weights_of(tmp_path / "model"), weights_of(directory), strict=True):
        np.testing.assert_array_equal(value, expected)


def test_nothing_is_written_over_and_another_training_is_not_gone_on_with(reviews, trained):
    directory, _ = trained
    with pytest.raises(ConfigError, match="is there already. Name another directory"):
        plan_training(reviews, OPTIONS).run(directory)
    state = directory.with_name("other.training")
    state.mkdir()
    (state / "description.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds the state of another training"):
        plan_training(reviews, OPTIONS).run(directory.with_name("other"))


def test_progress_goes_from_step_to_step_to_the_end(reviews, tmp_path):
    seen = []
    plan_training(reviews, OPTIONS).run(tmp_path / "model", verbose=0, on_progress=seen.append)
    shares = [progress.share for progress in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    ends = [progress for progress in seen if progress.is_end_of_epoch]
    assert [(end.epoch, end.num_epochs) for end in ends] == [(1, 2), (2, 2)]
    assert all("val_loss" in end.scores for end in ends)
    assert seen[0].seconds_left == float("inf")
    assert 0 < seen[-3].seconds_left < 60


def test_adapters_alone_may_be_trained(reviews, tmp_path):
    options = TrainingOptions(epochs=1, batch_size=16, lora_rank=2, sequence_length=16)
    result = plan_training(reviews, options).run(tmp_path / "model", verbose=0)
    assert set(result.history) >= {"loss", "val_loss"}
    assert models.TextClassifier.from_preset(tmp_path / "model").classify("a fine film")


@pytest.mark.parametrize(
    ("rows", "task"),
    [
        (
            [
                {"tokens": ["Ada", "went"], "tags": ["B-NAME", "O"]},
                {"tokens": ["to", "Ada"], "tags": ["O", "B-NAME"]},
            ],
            "TokenClassifier",
        ),
        (
            [
                {"question": "who?", "context": "Ada went home", "answer": "Ada"},
                {"question": "where?", "context": "Ada went home", "answer": "home"},
            ],
            "QuestionAnswerer",
        ),
        (
            [{"anchor": "who?", "positive": "Ada"}, {"anchor": "where?", "positive": "at home"}],
            "TextEmbedder",
        ),
        ([{"text": "the heaven and the earth"}, {"text": "the sea"}], "MaskedLM"),
    ],
)
def test_other_kinds_are_trained_too(tmp_path, rows, task):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    options = TrainingOptions(epochs=1, validation_share=0.5, sequence_length=16)
    plan = plan_training(path, options)
    result = plan.run(tmp_path / "model", verbose=0)
    assert len(result.history["loss"]) == 1
    record = json.loads((tmp_path / "model" / "training.json").read_text("utf-8"))
    assert (record["evaluation"] is None) == (task == "MaskedLM")
    assert type(getattr(models, task).from_preset(tmp_path / "model")).__name__.endswith(task)


def test_a_model_is_evaluated_on_all_examples_of_a_file(trained, reviews):
    directory, _ = trained
    plan = plan_training(reviews, TrainingOptions(validation_share=0.0))
    evaluation = plan.evaluate(models.TextClassifier.from_preset(directory))
    assert len(evaluation.lengths.counts) == len(ROWS)


def test_a_kind_without_scores_says_so(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "the sea"}\n{"text": "the earth"}', encoding="utf-8")
    with pytest.raises(ConfigError, match="no scores for 'fill' but the loss"):
        plan_training(path, task="fill").evaluate(None)


def test_public_names_are_those_of_the_package():
    assert training.plan_training is plan_training


def test_a_report_tells_of_the_training(trained):
    directory, _ = trained
    page = (directory / "report.html").read_text("utf-8")
    record = json.loads((directory / "training.json").read_text("utf-8"))
    assert f"{record['evaluation']['accuracy']:.1%}" in page
    for text in ("<svg", "What is taken for what", "prefers-color-scheme: dark", "--epochs=2"):
        assert text in page
    assert "http" not in page.replace("http-equiv", "")
