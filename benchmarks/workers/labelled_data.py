"""Labelled texts that models are fine-tuned on: two sets of classes, and one of entities."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["LabelledData", "read_labelled"]


@dataclass(frozen=True)
class LabelledData:
    """Texts to train on, and texts to score with.

    Attributes:
        texts, labels: To train on; lists of words and of their tags where words are labelled.
        test_texts, test_labels: To score with.
        names: All labels or tags, in the order of their numbers.
    """

    texts: list[Any]
    labels: list[Any]
    test_texts: list[Any]
    test_labels: list[Any]
    names: list[str]

    @property
    def has_words(self) -> bool:
        """Whether each word has a label, rather than each text."""
        return not isinstance(self.texts[0], str)


def read_labelled(name: str, directory: Path) -> LabelledData:
    """Reads `"banking77"`, `"clinc150"` or `"wnut17"` from below a directory.

    CLINC150's texts out of scope are a class of their own; its and WNUT17's texts for validation
    are not used.
    """
    read = {"banking77": _banking77, "clinc150": _clinc150, "wnut17": _wnut17}[name]
    training, test = read(directory / name)
    labels = [label for _, label in training]
    distinct = {tag for tags in labels for tag in tags} if name == "wnut17" else set(labels)
    return LabelledData(
        [text for text, _ in training],
        labels,
        [text for text, _ in test],
        [label for _, label in test],
        sorted(distinct, key=lambda label: (label != "O", label)),
    )


def _banking77(directory: Path) -> tuple[list, list]:
    def rows(part: str) -> list:
        with (directory / f"{part}.csv").open(encoding="utf-8", newline="") as file:
            return [(row["text"], row["category"]) for row in csv.DictReader(file)]

    return rows("train"), rows("test")


def _clinc150(directory: Path) -> tuple[list, list]:
    parts = json.loads((directory / "data_full.json").read_text(encoding="utf-8"))
    return parts["train"] + parts["oos_train"], parts["test"] + parts["oos_test"]


def _wnut17(directory: Path) -> tuple[list, list]:
    return _sentences(directory / "wnut17train.conll"), _sentences(
        directory / "emerging.test.conll"
    )


def _sentences(path: Path) -> list[tuple[list[str], list[str]]]:
    sentences: list[tuple[list[str], list[str]]] = [([], [])]
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip():
            sentences.append(([], []))
            continue
        word, tags = line.split("\t")[:2]
        sentences[-1][0].append(word)
        # Where annotators disagreed, the first of several tags.
        sentences[-1][1].append(tags.split(",")[0].strip())
    return [sentence for sentence in sentences if sentence[0]]
