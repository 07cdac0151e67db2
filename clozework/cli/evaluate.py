"""`clozework evaluate` and `compare`: how good models are on a file of examples."""

import dataclasses

import click

from clozework.cli.loading import DTYPE_OPTION, load_task
from clozework.cli.printing import print_json, print_table
from clozework.cli.train import COLUMN_OPTION, read_roles

__all__ = ["compare", "evaluate"]

_JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


@click.command(short_help="Say how good a model is.")
@click.argument("model")
@click.argument("data", type=click.Path(exists=True))
@click.option(
    "--task",
    type=click.Choice(["classify", "tag", "answer", "embed", "summarize"]),
    help="What the model is for; what it was stored as by default.",
)
@COLUMN_OPTION
@DTYPE_OPTION
@_JSON_OPTION
def evaluate(
    *, model: str, data: str, task: str | None, columns, dtype: str | None, as_json: bool
) -> None:
    """Says how good a model is: `clozework evaluate my_model test.csv`

    DATA is a file of texts and what is expected of them, as `clozework train` reads it: classes,
    tags, answers, summaries, or the texts that belong to others.
    """
    from clozework.training import TrainingOptions, kind_of_model, plan_training

    options = TrainingOptions(validation_share=0.0)
    task = task or kind_of_model(model)
    plan = plan_training(data, options, task=task, columns=read_roles(columns))
    found = plan.evaluate(load_task(plan.kind.task, model, dtype))
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    scores = found.scores()
    print_table(scores.rows, header=scores.header)
    click.echo(f"\n{found.summary()}")


@click.command(short_help="Say which of two classifiers is better.")
@click.argument("first")
@click.argument("second")
@click.argument("data", type=click.Path(exists=True))
@COLUMN_OPTION
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
