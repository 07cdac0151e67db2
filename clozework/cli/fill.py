"""`clozework fill`: which words fit into a gap."""

import dataclasses
import functools
from collections.abc import Iterable

import click

from clozework.cli.printing import say
from clozework.cli.requests import Request, request_options

__all__ = ["fill"]

_DEFAULT_PRESET = "deberta_v3_tiny_en_demo"


@click.command(short_help="Fill the masks of texts.")
@request_options("The model to ask.", default=_DEFAULT_PRESET)
@click.option(
    "--top-k",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="How many candidates to give for each mask.",
)
def fill(request: Request, *, top_k: int) -> None:
    """Fills the masks of texts: `clozework fill "The capital of France is [MASK]."`

    Each TEXT holds at least one mask, written as the model writes it, or as `[MASK]` or `<mask>`.
    The TEXT `-` stands for the lines of the standard input. PRESET is a built-in name, a directory,
    `hf://organisation/name` or `kaggle://organisation/model/framework/variation`.
    """
    masked_lm = request.model("MaskedLM")
    tokenizer = masked_lm.preprocessor.tokenizer
    told: set[str] = set()
    # Before the first one is computed, all texts are looked at.
    request = dataclasses.replace(request, texts=list(request.texts))
    _with_masks_of(tokenizer, request.texts, told)
    request.run(
        lambda texts, **options: masked_lm.fill(_with_masks_of(tokenizer, texts, told), **options),
        as_fields=dataclasses.asdict,
        show=_as_text,
        doing="Filling",
        problem_of=lambda text: "" if _masks_in(text) else f"it has no {tokenizer.mask_token}",
        top_k=top_k,
    )


def _with_masks_of(tokenizer, texts: Iterable[str], told: set[str]) -> list[str]:
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


def _masks_in(text: str) -> list[str]:
    return [mask for mask in _masks() if mask in text]


@functools.cache
def _masks() -> frozenset[str]:
    """Returns the masks of all families."""
    from clozework.presets import families

    roles = [family.tokenizer.special_tokens_by_role for family in families()]
    return frozenset(special["mask"] for special in roles if "mask" in special)


def _as_text(text: str, filled) -> str:
    lines = [filled.text]
    for i, mask in enumerate(filled.masks, start=1):
        lines += ["", f"  mask {i}"] if len(filled.masks) > 1 else [""]
        width = max(len(candidate.token) for candidate in mask.candidates)
        lines += [
            f"  {candidate.token.ljust(width)}  {candidate.probability:6.1%}"
            for candidate in mask.candidates
        ]
    return "\n".join(lines)
