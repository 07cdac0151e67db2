"""`clozework fill`: which words fit into a gap."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import IO

import click

from clozework.cli.files import file_options, run_on_file
from clozework.cli.loading import DTYPE_OPTION, load_task, model_option
from clozework.cli.printing import print_json, say
from clozework.cli.texts import JSON_OPTION, given_texts, in_parts, text_arguments

__all__ = ["fill"]

_DEFAULT_PRESET = "deberta_v3_tiny_en_demo"


@click.command(short_help="Fill the masks of texts.")
@text_arguments
@file_options
@model_option("The model to ask.", default=_DEFAULT_PRESET)
@click.option(
    "--top-k",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="How many candidates to give for each mask.",
)
@DTYPE_OPTION
@JSON_OPTION
def fill(
    *,
    texts: tuple[str, ...],
    preset: str,
    top_k: int,
    files: tuple[IO[str], ...],
    dtype: str | None,
    as_json: bool,
    job: dict | None,
) -> None:
    """Fills the masks of texts: `clozework fill "The capital of France is [MASK]."`

    Each TEXT holds at least one mask, written as the model writes it, or as `[MASK]` or `<mask>`.
    The TEXT `-` stands for the lines of the standard input. PRESET is a built-in name, a directory,
    `hf://organisation/name` or `kaggle://organisation/model/framework/variation`.
    """
    given = [] if job else given_texts(texts, files)
    masked_lm = load_task("MaskedLM", preset, dtype)
    tokenizer = masked_lm.preprocessor.tokenizer
    told: set[str] = set()
    if job:
        run_on_file(
            job,
            lambda part: masked_lm.fill(_with_masks_of(tokenizer, part, told), top_k=top_k),
            _as_fields,
            about={"verb": "fill", "model": preset, "dtype": dtype, "top_k": top_k},
            problem_of=lambda text: "" if _masks_in(text) else f"it has no {tokenizer.mask_token}",
            as_json=as_json,
        )
        return
    asked = _with_masks_of(tokenizer, given, told)
    filled = list(in_parts(lambda part: masked_lm.fill(part, top_k=top_k), asked, "Filling"))
    if as_json:
        print_json(
            [
                {"input": text, **dataclasses.asdict(result)}
                for text, result in zip(given, filled, strict=True)
            ]
        )
        return
    click.echo("\n\n".join(_as_text(result) for result in filled))


def _with_masks_of(tokenizer, texts: Sequence[str], told: set[str]) -> list[str]:
    """Puts the model's mask in place of another model's, where a text has only that one.

    Of each other mask the user is `told` once.
    """
    mask = tokenizer.mask_token
    results, replaced = [], set()
    for i, text in enumerate(texts, start=1):
        found = _masks_in(text)
        if not found:
            raise click.ClickException(
                f"Text {i} has no mask: {text!r}. Write {mask} where a word is wanted."
            )
        if mask not in found and len(found) == 1:
            text = text.replace(found[0], mask)
            replaced.update(found)
        results.append(text)
    for other in sorted(replaced - told):
        told.add(other)
        say(f"{other} was read as {mask}, which is the mask of this model.")
    return results


def _as_fields(filled) -> dict:
    return {"filled": filled.text, "masks": dataclasses.asdict(filled)["masks"]}


def _masks_in(text: str) -> list[str]:
    return [mask for mask in _masks() if mask in text]


@functools.cache
def _masks() -> frozenset[str]:
    """Returns the masks of all families."""
    from clozework.presets import families

    roles = [family.tokenizer.special_tokens_by_role for family in families()]
    return frozenset(special["mask"] for special in roles if "mask" in special)


def _as_text(filled) -> str:
    lines = [filled.text]
    for i, mask in enumerate(filled.masks, start=1):
        lines += ["", f"  mask {i}"] if len(filled.masks) > 1 else [""]
        width = max(len(candidate.token) for candidate in mask.candidates)
        lines += [
            f"  {candidate.token.ljust(width)}  {candidate.probability:6.1%}"
            for candidate in mask.candidates
        ]
    return "\n".join(lines)
