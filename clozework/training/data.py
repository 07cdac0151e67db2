"""Examples for training, checked, and shared out for validation."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from clozework.errors import InputError
from clozework.training.kinds import Kind

__all__ = [
    "Split",
    "balanced_class_weights",
    "check_classes",
    "checked_columns",
    "repeated_ids",
    "split_of_files",
    "split_rows",
]

# With more classes than this part of the examples, a column is rather one of names or numbers.
_MOST_CLASSES = 0.5


@dataclass(frozen=True)
class Split:
    """Numbers of the rows to train on, and of those kept for validation."""

    training: list[int]
    validation: list[int]
    remarks: list[str] = field(default_factory=list)


def checked_columns(
    columns: Mapping[str, Sequence[Any]], roles: Mapping[str, str], kind: Kind
) -> dict[str, list[Any]]:
    """Returns the columns by their roles.

    Raises:
        InputError: If there is no such column, or a cell cannot be used: all such cells are
            counted.
    """
    missing = [name for name in roles.values() if name not in columns]
    if missing:
        raise InputError(
            f"There is no column {', '.join(map(repr, missing))}. There are: "
            f"{', '.join(map(repr, columns))}."
        )
    found = {role: list(columns[name]) for role, name in roles.items()}
    for role, values in found.items():
        problems = [
            f"row {row}: {value!r:.40}"
            for row, value in enumerate(values, start=1)
            if not _is_fit(value, is_list=role in ("tokens", "tags"), is_label=role == "label")
        ]
        if problems:
            raise InputError(
                f"{len(problems)} cells of {roles[role]!r} are empty or of another type: "
                f"{'; '.join(problems[:3])}. Mend these rows, or take them out."
            )
    return found


def split_rows(
    columns: Mapping[str, Sequence[Any]], kind: Kind, *, share: float, seed: int
) -> Split:
    """Returns which rows to keep for validation: of each class its share, the same for one seed.

    Rows with the same texts stay together, so that nothing is validated that was trained on.

    Args:
        columns: By their roles.
        kind: What is to be trained.
        share: Of the rows that are kept.
        seed: Of the choice.
    """
    random = np.random.default_rng(seed)
    first_role = next(iter(kind.roles))
    twins: dict[str, list[int]] = {}
    for row, text in enumerate(columns[first_role]):
        twins.setdefault(repr(text), []).append(row)
    by_class: dict[str, list[list[int]]] = {}
    for rows in twins.values():
        label = str(columns["label"][rows[0]]) if kind.has_labels else ""
        by_class.setdefault(label, []).append(rows)
    training, validation, alone = [], [], []
    for label in sorted(by_class):
        groups = by_class[label]
        order = random.permutation(len(groups)).tolist()
        # At least one to train on; one to validate on where there are two.
        count = min(max(round(share * len(groups)), 1), len(groups) - 1) if share else 0
        if not count and share:
            alone.append(label)
        validation += [row for i in order[:count] for row in groups[i]]
        training += [row for i in order[count:] for row in groups[i]]
    remarks = []
    if alone:
        remarks.append(
            f"{len(alone)} classes have a single text, which is trained on and not validated: "
            f"{', '.join(map(repr, alone[:5]))}."
        )
    num_twins = sum(len(rows) - 1 for rows in twins.values())
    if num_twins:
        remarks.append(f"{num_twins} rows repeat the text of another one.")
    return Split(sorted(training), sorted(validation), remarks)


def split_of_files(
    training: Mapping[str, Sequence[Any]], validation: Mapping[str, Sequence[Any]]
) -> Split:
    """Returns which rows are of which file, those to validate on behind the others.

    Args:
        training, validation: Columns of both, by their roles.

    Raises:
        InputError: If a label or a tag stands in the rows to validate on alone.
    """
    known, others = _labels_in(training), _labels_in(validation)
    if others - known:
        alone = sorted(others - known)
        raise InputError(
            f"{len(alone)} labels stand in the rows to validate on, and in none to train on: "
            f"{', '.join(map(repr, alone[:5]))}. Such rows cannot be got right: take them out, or "
            f"add some of these labels to the rows to train on."
        )
    first_role = next(iter(training))
    texts = set(map(repr, training[first_role]))
    num_twins = sum(repr(text) in texts for text in validation[first_role])
    remarks = []
    if num_twins:
        remarks.append(f"{num_twins} rows to validate on are among those to train on, too.")
    count = len(training[first_role])
    total = count + len(validation[first_role])
    return Split(list(range(count)), list(range(count, total)), remarks)


def repeated_ids(columns: Mapping[str, Sequence[Any]]) -> list[str]:
    """Returns a remark where the column `id` has a value more than once.

    Example:
    >>> repeated_ids({"id": ["1", "2", "1"], "text": ["a", "b", "c"]})
    ["1 values of 'id' stand in several rows: '1'. All of these rows are used."]
    """
    names = [name for name in columns if name.strip().lower() == "id"]
    counts = Counter(map(str, columns[names[0]])) if names else Counter()
    repeated = [value for value, count in counts.items() if count > 1]
    if not repeated:
        return []
    shown = ", ".join(map(repr, repeated[:5]))
    return [
        f"{len(repeated)} values of {names[0]!r} stand in several rows: {shown}. All of these rows "
        f"are used."
    ]


def _labels_in(columns: Mapping[str, Sequence[Any]]) -> set[str]:
    of_words = {str(tag) for tags in columns.get("tags", ()) for tag in tags}
    return of_words | {str(label) for label in columns.get("label", ())}


def balanced_class_weights(labels: Sequence[str]) -> dict[str, float]:
    """Returns weights by which all classes count alike, and an example 1 on average.

    Example:
    >>> balanced_class_weights(["a", "a", "a", "b"])
    {'a': 0.6666666666666666, 'b': 2.0}
    """
    counts = Counter(labels)
    return {label: len(labels) / (len(counts) * count) for label, count in sorted(counts.items())}


def _is_fit(value, *, is_list: bool, is_label: bool) -> bool:
    if is_list:
        return isinstance(value, list) and len(value) > 0
    if is_label and isinstance(value, int) and not isinstance(value, bool):
        return True
    return isinstance(value, str) and bool(value.strip())


def check_classes(labels: Sequence[Any], column: str) -> None:
    """Raises `InputError` if labels are no classes, or there is nothing to tell apart.

    Args:
        labels: Of all examples.
        column: Its name.
    """
    kinds = {type(label) for label in labels}
    if len(kinds) > 1:
        raise InputError(f"{column!r} holds texts and numbers. Make all of them texts.")
    classes = Counter(map(str, labels))
    if len(classes) == 1:
        raise InputError(
            f"All rows are of one class, {next(iter(classes))!r}: there is nothing to tell apart. "
            f"Is {column!r} the column of labels?"
        )
    if len(classes) > max(_MOST_CLASSES * len(labels), 2):
        raise InputError(
            f"{column!r} has {len(classes)} different values in {len(labels)} rows, which are no "
            f"classes. Name the column of labels."
        )
