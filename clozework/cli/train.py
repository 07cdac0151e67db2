"""`clozework train`: a model from a file of examples."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping

import click

from clozework.cli.printing import as_time, print_json, say

__all__ = ["COLUMN_OPTION", "read_roles", "train"]

_TASKS = ("classify", "tag", "answer", "embed", "summarize", "fill")
COLUMN_OPTION = click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="ROLE=NAME",
    help="Which column is what, such as label=stars; more than once for several.",
)


@click.command(short_help="Train a model on a file of examples.")
@click.argument("data", type=click.Path(exists=True))
@click.option(
    "-o", "--output", "directory", required=True, type=click.Path(), help="Where the model goes."
)
@click.option(
    "--task",
    type=click.Choice(_TASKS),
    help="What the model is for; guessed from the columns by default.",
)
@COLUMN_OPTION
@click.option(
    "--validation",
    type=click.Path(exists=True),
    help="A file of rows to validate on; a share of DATA by default.",
)
@click.option("--preset", help="The model to begin with; the one of the package by default.")
@click.option("--epochs", type=click.IntRange(min=1), help="At most so many.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Examples of a step.")
@click.option("--learning-rate", type=float, help="The highest one.")
@click.option(
    "--validation-share",
    type=click.FloatRange(0, 0.9),
    help="Of the examples, kept to validate.",
)
@click.option("--patience", type=click.IntRange(min=1), help="Epochs to wait for a better one.")
@click.option(
    "--class-weights", type=click.Choice(["auto", "none"]), help="Whether rare classes weigh more."
)
@click.option("--lora-rank", type=click.IntRange(min=1), help="Train adapters of this rank.")
@click.option("--sequence-length", type=click.IntRange(min=3), help="Tokens of a text.")
@click.option(
    "--dtype", type=click.Choice(["float32", "mixed_bfloat16"]), help="Precision of computing."
)
@click.option(
    "--gradient-accumulation-steps",
    type=click.IntRange(min=2),
    help="Batches of which one step is made.",
)
@click.option("--seed", type=int, help="Of everything that is random.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def train(
    *,
    data: str,
    directory: str,
    task: str | None,
    columns,
    validation: str | None,
    as_json: bool,
    **given,
) -> None:
    """Trains a model: `clozework train reviews.csv -o my_model`

    DATA is CSV, TSV, JSON Lines, Parquet, Arrow, or a directory that `datasets` saved. The same
    command after an interrupt, even `kill -9`, goes on where it was. `clozework classify -m
    my_model` uses the result.
    """
    from clozework.training import TrainingOptions, plan_training

    options = TrainingOptions(**{name: v for name, v in given.items() if v is not None})
    training = plan_training(
        data, options, task=task, columns=read_roles(columns), validation=validation
    )
    for line in training.lines():
        say(line)
    with _shown_progress(is_shown=not as_json) as (tell, show):
        result = training.run(directory, verbose=0, on_message=tell, on_progress=show)
    if as_json:
        print_json({**dataclasses.asdict(result), "directory": directory})
        return
    click.echo(f"{directory}: {_told(result.best)} ({result.seconds:.0f} s)")


@contextlib.contextmanager
def _shown_progress(*, is_shown: bool) -> Iterator[tuple[Callable[..., None], ...]]:
    """Within it, what it yields tells messages, and progress: a bar, and a line for each epoch."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    is_live = is_shown and console.is_terminal
    columns = (BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not is_live) as bars:
        bar = bars.add_task("", total=1.0)

        def tell(message: str) -> None:
            if is_live:
                # Above the bar, which a line of click's would be glued to.
                console.print(message, markup=False, highlight=False, soft_wrap=True)
            else:
                say(message)

        def show(progress) -> None:
            epoch = f"epoch {progress.epoch} of {progress.num_epochs}"
            left = as_time(progress.seconds_left)
            told = f"{epoch}, loss {progress.scores.get('loss', 0.0):.4g}, at most {left} left"
            bars.update(bar, completed=progress.share, description=told)
            if is_shown and progress.is_end_of_epoch:
                tell(f"{epoch}: {_told(progress.scores)}")

        yield tell, show


def _told(scores: Mapping[str, float]) -> str:
    """Writes scores for people, to whom it is all one what kind of labels an accuracy is of."""
    return ", ".join(
        f"{name.replace('sparse_categorical_', '')} {value:.4g}" for name, value in scores.items()
    )


def read_roles(columns) -> dict[str, str]:
    """Returns the columns of roles that were named as `ROLE=NAME`."""
    pairs = [column.partition("=") for column in columns]
    for role, equals, name in pairs:
        if not (role and equals and name):
            raise click.UsageError("Write --column ROLE=NAME, such as --column label=stars.")
    return {role: name for role, _, name in pairs}
