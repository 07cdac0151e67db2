"""Rounding a model's weights only where it goes on answering as before."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from clozework.data import make_dataset
from clozework.errors import AgreementError, InputError
from clozework.tasks.recorded_model import RecordedModel

__all__ = ["Agreement", "KeptWeights", "next_tokens", "quantize_if_agreeing"]

# Each text's logits are as many numbers as the vocabulary has, for every token.
_TEXTS_AT_ONCE = 8


@dataclass(frozen=True)
class Agreement:
    """How the answers of a model with rounded weights compare with those it gave before.

    Attributes:
        share: Share of equal answers, 0 to 1.
        num_answers: How many were compared.
        before, after: What `evaluate` says of the sample, where it has labels; else empty.
    """

    share: float
    num_answers: int
    before: dict[str, float]
    after: dict[str, float]

    def __str__(self):
        figures = [
            f"{name} {value:.4f} before, {self.after[name]:.4f} after"
            for name, value in self.before.items()
        ]
        return "; ".join([f"{self.share:.2%} of {self.num_answers:,} answers as before", *figures])


class KeptWeights:
    """The weights of a model, to be put back after `quantize`: the same variables, in their order.

    Args:
        model: A built model. What its layers hold is noted, nothing is copied.
    """

    def __init__(self, model: keras.Model):
        self._model = model
        layers = model._flatten_layers(include_self=False)
        self._layers = [
            # Keras keeps a layer's variables in lists, which `quantize` changes in place.
            (layer, dict(vars(layer)), [list(kept) for kept in _variable_lists(layer)])
            for layer in layers
            if not isinstance(layer, keras.Model)
        ]

    def put_back(self) -> None:
        """Undoes what `quantize` did since."""
        for layer, attributes, variables in self._layers:
            for variable in [*layer._trainable_variables, *layer._non_trainable_variables]:
                layer._untrack_variable(variable)
            layer._tracker.unlock()
            for variable in [variable for kept in variables for variable in kept]:
                layer._track_variable(variable)
            layer._tracker.lock()
            vars(layer).clear()
            vars(layer).update(attributes)
        for name in ("train_function", "test_function", "predict_function"):
            setattr(self._model, name, None)
        self._model._post_quantize(None)


def _variable_lists(layer) -> tuple[list, list]:
    return layer._trainable_variables, layer._non_trainable_variables


def quantize_if_agreeing(
    task, quantize: Callable[[], None], sample: Any, minimum_agreement: float
) -> None:
    """Quantizes a task, says how its answers compare, and takes it back where they differ.

    Args:
        task: A task with `answers_to`.
        quantize: Rounds its weights.
        sample: Examples, or a tuple of examples and labels, which may be None.
        minimum_agreement: Lowest share of equal answers.

    Raises:
        AgreementError: If fewer answers are equal; the task is then as it was.
        InputError: If the sample has no answers to compare.
    """
    examples, labels = sample if isinstance(sample, tuple) else (sample, None)
    answers, before = _measured(task, examples, labels)
    if not len(answers):
        raise InputError("`sample` has no answers to compare. Pass more examples, or longer ones.")
    kept, policies = KeptWeights(task), task.backbone.quantized_policies
    try:
        quantize()
        answers_after, after = _measured(task, examples, labels)
        share = float(np.mean([a == b for a, b in zip(answers, answers_after, strict=True)]))
        agreement = Agreement(share, len(answers), before, after)
        print(agreement)
        if share < minimum_agreement:
            raise AgreementError(
                f"The model was left as it was: with rounded weights it gives {agreement}, and "
                f"minimum_agreement={minimum_agreement} was asked for. Ask for less, leave layers "
                f"out with `filters`, or use dtype='bfloat16'."
            )
    except BaseException:
        kept.put_back()
        task.backbone.quantized_policies = policies
        raise


def _measured(task, examples, labels) -> tuple[Sequence[Any], dict[str, float]]:
    """Returns the answers to examples, and figures where there are labels."""
    answers = task.answers_to(examples)
    if labels is None:
        return answers, {}
    figures = task.evaluate(examples, labels, verbose=0, return_dict=True)
    return answers, {name: float(value) for name, value in figures.items()}


def next_tokens(task, x) -> list[int]:
    """Returns what a generator would put in the place of each token, after those before it."""
    texts, _ = task.prepare_examples(x)
    batches = make_dataset(texts, preprocess=None, is_text=True, batch_size=_TEXTS_AT_ONCE)
    tokens = []
    for batch in batches:
        inputs, _, counts = task._training_batch(batch[0], None, None)
        logits = RecordedModel.predict_on_batch(task, inputs)
        tokens += logits.argmax(axis=-1)[np.asarray(counts).astype(bool)].tolist()
    return tokens
