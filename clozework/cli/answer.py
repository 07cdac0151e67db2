"""`clozework answer`: the part of a context that answers a question."""

import dataclasses
from typing import IO

import click

from clozework.cli.loading import DTYPE_OPTION, load_task, model_option
from clozework.cli.printing import print_json
from clozework.cli.texts import JSON_OPTION, given_texts, in_parts, text_arguments

__all__ = ["answer"]


@click.command(short_help="Find the answers to questions in a context.")
@text_arguments
@model_option("The question answerer.")
@click.option("--context", metavar="TEXT", help="The text that holds the answers.")
@click.option(
    "--context-file",
    type=click.File(encoding="utf-8"),
    help="A file with that text, of any length.",
)
@click.option(
    "--top-k",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How many answers to give for each question.",
)
@click.option("--can-be-absent", is_flag=True, help="Whether there may be no answer.")
@DTYPE_OPTION
@JSON_OPTION
def answer(
    *,
    texts: tuple[str, ...],
    files: tuple[IO[str], ...],
    preset: str,
    context: str | None,
    context_file: IO[str] | None,
    top_k: int,
    can_be_absent: bool,
    dtype: str | None,
    as_json: bool,
) -> None:
    """Answers questions: `clozework answer -m MODEL --context-file FILE "Who was it?"`

    Each TEXT is a question; `-` stands for the lines of the standard input.
    """
    if (context is None) == (context_file is None):
        raise click.UsageError("Give the text that holds the answers: --context or --context-file.")
    given = given_texts(texts, files)
    source = context if context_file is None else context_file.read()
    answerer = load_task("QuestionAnswerer", preset, dtype)
    options = {"top_k": top_k, "can_be_absent": can_be_absent}
    results = list(
        in_parts(lambda part: answerer.answer(part, source, **options), given, "Answering")
    )
    if as_json:
        print_json(
            [
                {"input": text, "answers": [dataclasses.asdict(one) for one in answers]}
                for text, answers in zip(given, results, strict=True)
            ]
        )
        return
    click.echo("\n\n".join(map(_as_text, given, results)))


def _as_text(question: str, answers) -> str:
    lines = [f"  {one.score:6.1%}  {one.text or '(no answer)'}" for one in answers]
    return "\n".join([question, "", *(lines or ["  nothing"])])
