"""`clozework evaluate` and `compare`: how good classifiers are on a file of examples."""

import dataclasses

import click

from clozework.cli.loading import DTYPE_OPTION, load_task
from clozework.cli.printing import print_json, print_table
from clozework.cli.train import read_roles

__all__ = ["compare", "evaluate"]

_COLUMN_OPTION = click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="ROLE=NAME",
    help="Which column is what, such as label=stars; more than once for several.",
)
_JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


@click.command(short_help="Say how good a classifier is.")
@click.argument("model")
@click.argument("data", type=click.Path(exists=True))
@_COLUMN_OPTION
@DTYPE_OPTION
@_JSON_OPTION
def evaluate(*, model: str, data: str, columns, dtype: str | None, as_json: bool) -> None:
    """Says how good a classifier is: `clozework evaluate my_model test.csv`

    DATA is a file of texts and labels, as `clozework train` reads it.
    """
    from clozework.training import evaluate_classifier

    texts, labels = _examples(data, columns)
    found = evaluate_classifier(load_task("TextClassifier", model, dtype), texts, labels)
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    print_table(
        [
            [
                one.label,
                f"{one.precision:.3f}",
                f"{one.recall:.3f}",
                f"{one.f1:.3f}",
                f"{one.support}",
            ]
            for one in found.classes
        ],
        header=["class", "precision", "recall", "F1", "texts"],
    )
    click.echo(
        f"\naccuracy {found.accuracy:.1%}, mean F1 {found.macro_f1:.3f}, {len(found.lengths)} texts"
    )


@click.command(short_help="Say which of two classifiers is better.")
@click.argument("first")
@click.argument("second")
@click.argument("data", type=click.Path(exists=True))
@_COLUMN_OPTION
@DTYPE_OPTION
@_JSON_OPTION
def compare(
    *, first: str, second: str, data: str, columns, dtype: str | None, as_json: bool
) -> None:
    """Says which of two classifiers is better: `clozework compare one_model other_model test.csv`

    DATA is a file of texts and labels that neither was trained on.
    """
    from clozework.training import compare_classifiers

    texts, labels = _examples(data, columns)
    one, other = (load_task("TextClassifier", preset, dtype) for preset in (first, second))
    found = compare_classifiers(one, other, texts, labels)
    if as_json:
        print_json({**dataclasses.asdict(found), "is_clear": found.is_clear})
        return
    for name, accuracy in zip((first, second), found.accuracies, strict=True):
        click.echo(f"{accuracy:7.1%}  {name}")
    low, high = found.interval
    click.echo(
        f"{found.difference:+7.1%}  difference; {low:+.1%} to {high:+.1%} for other texts of this "
        f"kind, 95 times in 100"
    )
    click.echo(
        f"{found.only_first} texts only the first has right, {found.only_second} only the second."
    )
    click.echo("That is a difference." if found.is_clear else "That may be chance.")


def _examples(data: str, columns) -> tuple[list[str], list[str]]:
    from clozework.training import TrainingOptions, plan_training

    options = TrainingOptions(validation_share=0.0)
    plan = plan_training(data, options, task="classify", columns=read_roles(columns))
    return plan.columns["text"], [str(label) for label in plan.columns["label"]]
