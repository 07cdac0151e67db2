"""What can be trained: which columns it takes, and which model it makes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clozework.errors import ConfigError, InputError
from clozework.losses import InBatchNegatives
from clozework.tasks import describe_preset
from clozework.training.evaluations.answers import evaluate_answerer
from clozework.training.evaluations.classes import evaluate_classifier
from clozework.training.evaluations.entities import evaluate_tagger
from clozework.training.evaluations.evaluation import Evaluation
from clozework.training.evaluations.retrieval import evaluate_embedder
from clozework.training.evaluations.summaries import evaluate_summarizer

__all__ = [
    "KINDS",
    "Kind",
    "guessed_columns",
    "guessed_kind",
    "kind_named",
    "kind_of_model",
]

Column = Sequence[Any]


@dataclass(frozen=True)
class Kind:
    """A job that a model can be trained for.

    Attributes:
        name: As on the command line.
        task: The class in `clozework.models`.
        roles: What its columns hold, and the names by which they are known, the usual ones first.
        optional_roles: What further columns may hold.
        examples: Makes `(x, y)` for `fit` of the columns, by role; y is None where there is none.
        monitored: What tells a good epoch, of the examples kept for validation.
        loss: Makes what is minimised.
        evaluate: Says what a model gets right of such `(x, y)`; None where the loss says it all.
    """

    name: str
    task: str
    roles: Mapping[str, tuple[str, ...]]
    examples: Callable[[Mapping[str, Column]], tuple[Any, Any]]
    monitored: str = "val_loss"
    loss: Callable[[], Any] = lambda: "auto"
    evaluate: Callable[[Any, Any, Any], Evaluation] | None = None
    optional_roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def has_labels(self) -> bool:
        """Whether each example is of one class."""
        return "label" in self.roles


_TEXT = ("text", "sentence", "review", "message", "content", "document", "utterance", "body")
_SUMMARY = ("summary", "highlights", "abstract", "target", "headline", "title")

KINDS = (
    Kind(
        "tag",
        "TokenClassifier",
        {"tokens": ("tokens", "words"), "tags": ("tags", "ner_tags", "labels")},
        lambda columns: (list(columns["tokens"]), list(columns["tags"])),
        evaluate=evaluate_tagger,
    ),
    Kind(
        "answer",
        "QuestionAnswerer",
        {"question": ("question",), "context": ("context", "passage"), "answer": ("answer",)},
        lambda columns: (
            list(zip(columns["question"], columns["context"], strict=True)),
            _spans(columns["context"], columns["answer"]),
        ),
        evaluate=evaluate_answerer,
    ),
    Kind(
        "embed",
        "TextEmbedder",
        {
            "anchor": ("anchor", "query", "sentence1"),
            "positive": ("positive", "document", "passage", "sentence2"),
        },
        # Pairs, or triplets.
        lambda columns: (list(zip(*columns.values(), strict=True)), None),
        loss=InBatchNegatives,
        optional_roles={"negative": ("negative", "hard_negative", "sentence3")},
        evaluate=lambda embedder, x, y: evaluate_embedder(embedder, x),
    ),
    Kind(
        "summarize",
        "Seq2SeqLM",
        {"text": ("document", "article", *_TEXT), "summary": _SUMMARY},
        lambda columns: (
            {"encoder_text": list(columns["text"]), "decoder_text": list(columns["summary"])},
            None,
        ),
        evaluate=lambda summarizer, x, y: evaluate_summarizer(summarizer, x),
    ),
    Kind(
        "classify",
        "TextClassifier",
        {
            "text": _TEXT,
            "label": ("label", "class", "category", "intent", "sentiment", "topic", "labels"),
        },
        lambda columns: (list(columns["text"]), [str(label) for label in columns["label"]]),
        evaluate=evaluate_classifier,
    ),
    Kind(
        "fill",
        "MaskedLM",
        {"text": _TEXT},
        lambda columns: (list(columns["text"]), None),
    ),
)


def kind_named(name: str) -> Kind:
    """Returns a kind by its name.

    Raises:
        ConfigError: If there is none.
    """
    for kind in KINDS:
        if kind.name == name:
            return kind
    names = ", ".join(repr(kind.name) for kind in KINDS)
    raise ConfigError(f"There is no training for {name!r}. It is one of: {names}.")


def kind_of_model(preset) -> str | None:
    """Returns the name of what a stored model is for; None for a backbone alone.

    Args:
        preset: Built-in name, handle or directory.

    Raises:
        PresetError: If it cannot be found or read.

    Example:
    >>> kind_of_model("deberta_v3_tiny_en_demo")
    'fill'
    """
    task = describe_preset(preset).task or ""
    return next((kind.name for kind in KINDS if task.endswith(kind.task)), None)


def guessed_kind(columns: Mapping[str, Column], asked: Mapping[str, str]) -> Kind:
    """Returns what a table is made for: the first kind of which it has all columns.

    Args:
        columns: Those of the table.
        asked: The columns of some roles, as the user named them.

    Raises:
        InputError: If there is none.
    """
    kinds = [kind for kind in KINDS if set(asked) <= {*kind.roles, *kind.optional_roles}]
    for kind in kinds:
        # Any text could be filled: that is for tables without anything else.
        is_told = kind.name != "fill" and all(
            role in asked or _known(columns, names) for role, names in kind.roles.items()
        )
        if is_told:
            return kind
    names = {kind.name for kind in kinds}
    text = asked.get("text") or _column_of_texts(columns)
    others = {name: values for name, values in columns.items() if name != text}
    if "classify" in names and text and ("label" in asked or _column_of_labels(others)):
        return kind_named("classify")
    if "fill" in names and text:
        return kind_named("fill")
    raise InputError(
        f"None of the columns holds texts: {', '.join(map(repr, columns))}. Is the delimiter "
        f"another one? Say what is what: `task='classify', columns={{'text': ..., 'label': ...}}`."
    )


def guessed_columns(
    columns: Mapping[str, Column], kind: Kind, asked: Mapping[str, str]
) -> dict[str, str]:
    """Returns which column has which role.

    Args:
        columns: Those of the table.
        kind: What is to be trained.
        asked: The columns of some roles, as the user named them.

    Raises:
        InputError: If a role has no column.
    """
    possible = {**kind.roles, **kind.optional_roles}
    unknown = sorted(set(asked) - set(possible))
    if unknown:
        raise ConfigError(
            f"{kind.name!r} has no {unknown[0]!r}. It takes: {', '.join(map(repr, possible))}."
        )
    found: dict[str, str] = {}
    for role, names in possible.items():
        rest = {name: values for name, values in columns.items() if name not in asked.values()}
        rest = {name: values for name, values in rest.items() if name not in found.values()}
        column = asked.get(role) or _known(rest, names)
        if column is None and role == "label":
            column = _column_of_labels(rest)
        if column is None and role == "text":
            column = _column_of_texts(rest)
        is_usable = column in rest and all(isinstance(v, str) and v.strip() for v in rest[column])
        if role in kind.optional_roles and role not in asked and not is_usable:
            # Taken where it can be, and never missed.
            continue
        if column is None or column not in columns:
            raise InputError(
                f"There is no column {asked.get(role, role)!r}. There are: "
                f"{', '.join(map(repr, columns))}. Say which one is what: "
                f"`columns={{{role!r}: ...}}`, or `--column {role}=...`."
            )
        found[role] = column
    return found


def _known(columns: Mapping[str, Column], names: Sequence[str]) -> str | None:
    by_name = {name.strip().lower(): name for name in columns}
    return next((by_name[name] for name in names if name in by_name), None)


def _column_of_texts(columns: Mapping[str, Column]) -> str | None:
    """Returns the column of the longest texts on average, if any has words."""
    lengths = {
        name: sum(map(len, values)) / len(values)
        for name, values in columns.items()
        if all(isinstance(value, str) for value in values)
        and any(" " in value.strip() for value in values)
    }
    return max(lengths, key=lengths.__getitem__, default=None)


def _column_of_labels(columns: Mapping[str, Column]) -> str | None:
    """Returns the column with the fewest values, if they are few enough to be classes."""
    counts = {}
    for name, values in columns.items():
        if all(isinstance(value, str | int) for value in values):
            count = len(set(values))
            if 2 <= count <= max(len(values) // 3, 2):
                counts[name] = count
    return min(counts, key=counts.__getitem__, default=None)


def _spans(contexts: Column, answers: Column) -> list[tuple[int, int]]:
    """Returns where answers stand in their contexts, in characters.

    Raises:
        InputError: If one stands nowhere.
    """
    spans = []
    for row, (context, answer) in enumerate(zip(contexts, answers, strict=True), start=1):
        start = context.find(answer)
        if start < 0:
            raise InputError(
                f"The answer of row {row}, {answer!r:.60}, does not stand in its context, word by "
                f"word. Only such answers can be learned."
            )
        spans.append((start, start + len(answer)))
    return spans
