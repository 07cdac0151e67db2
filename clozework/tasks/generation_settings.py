"""How a stored model is meant to generate: the `generation_config.json` of Hugging Face."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from clozework.errors import ClozeworkWarning, ConfigError
from clozework.samplers import (
    BeamSampler,
    ForcedFirstToken,
    ForcedLastToken,
    GreedySampler,
    MinLength,
    MinNewTokens,
    NoRepeatNgrams,
    RandomSampler,
    RepetitionPenalty,
    Sampler,
    TopKSampler,
    TopPSampler,
)

__all__ = ["GENERATION_FILE", "DefaultSampler", "GenerationSettings"]

GENERATION_FILE = "generation_config.json"
# What would change the tokens, and is not honoured here.
_NOT_HONOURED = """
    bad_words_ids begin_suppress_tokens constraints diversity_penalty
    encoder_no_repeat_ngram_size encoder_repetition_penalty epsilon_cutoff eta_cutoff
    exponential_decay_length_penalty force_words_ids guidance_scale min_p num_beam_groups
    penalty_alpha sequence_bias suppress_tokens typical_p
"""
_NEUTRAL = (None, 0, 1, [], {}, ())


class DefaultSampler(str):
    """The name of a sampler as a default, told from the same word handed in by a user."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True)
class GenerationSettings:
    """Options of `generate` in `transformers`, by their names there; None where one is not stated.

    Lengths are those of the rows that are written, with their prompt or the decoder's first token.

    Raises:
        ConfigError: If a value is none that the option can have.

    Example:
    >>> settings = GenerationSettings.read({"num_beams": 4, "use_cache": True})
    >>> settings, type(settings.sampler()).__name__
    (GenerationSettings(num_beams=4), 'BeamSampler')
    """

    num_beams: int | None = None
    length_penalty: float | None = None
    early_stopping: bool | str | None = None
    no_repeat_ngram_size: int | None = None
    min_length: int | None = None
    max_length: int | None = None
    min_new_tokens: int | None = None
    max_new_tokens: int | None = None
    repetition_penalty: float | None = None
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | None = None
    decoder_start_token_id: int | None = None
    bos_token_id: int | None = None
    pad_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    do_sample: bool | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self):
        problems = [
            f"{name!r} is {value!r}, not {expected}"
            for name, value in self.stated().items()
            for expected, is_right in (_FORMS[name],)
            if not is_right(value)
        ]
        if problems:
            raise ConfigError(f"Settings for generation cannot be read: {'; '.join(problems)}.")

    def __repr__(self):
        stated = ", ".join(f"{name}={value!r}" for name, value in self.stated().items())
        return f"GenerationSettings({stated})"

    @classmethod
    def read(cls, config: Mapping[str, Any], where: str = "a config") -> "GenerationSettings":
        """Returns the settings in a config of theirs; what is not about generation is left out.

        Options that would change the tokens, and that are not honoured here, bring a warning.
        """
        missed = [n for n in _NOT_HONOURED.split() if config.get(n) not in _NEUTRAL]
        if config.get("do_sample") and (config.get("num_beams") or 1) != 1:
            # Beams are not drawn at random here.
            missed.append("do_sample")
        if missed:
            shown = ", ".join(f"{name}={config[name]!r}" for name in missed)
            warnings.warn(
                f"{where} says how to generate with options that Clozework does not have: {shown}. "
                f"Texts will differ from those of `transformers`.",
                ClozeworkWarning,
                stacklevel=3,
            )
        names = (field.name for field in fields(cls))
        options = {name: config[name] for name in names if config.get(name) is not None}
        # As `transformers` reads older configs.
        if config.get("force_bos_token_to_be_generated") and "forced_bos_token_id" not in options:
            options["forced_bos_token_id"] = config.get("bos_token_id")
        forced = options.get("forced_eos_token_id")
        if isinstance(forced, list) and len(forced) == 1:
            options["forced_eos_token_id"] = forced[0]
        return cls(**options)

    def stated(self) -> dict[str, Any]:
        """Returns the options that are stated: what `generation_config.json` says of them."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in values if value is not None}

    @property
    def stop_token_ids(self) -> tuple[int, ...] | None:
        """The ids that end a text; None where none is stated."""
        if self.eos_token_id is None:
            return None
        ids = self.eos_token_id
        return tuple(ids) if isinstance(ids, list) else (ids,)

    def longest(self, prompt_length: int) -> int | None:
        """Returns the number of tokens of the longest row, or None where it is not stated."""
        if self.max_new_tokens is not None:
            return prompt_length + self.max_new_tokens
        return self.max_length

    def sampler(self) -> Sampler:
        """Returns the sampler that generates as `transformers` does with these settings."""
        stated = self.stated()
        processing = [
            make(stated[name])
            for name, make, neutral in _PROCESSING
            if stated.get(name, neutral) != neutral
        ]
        options: dict[str, Any] = {"logits_processing": processing}
        if (self.num_beams or 1) > 1:
            return BeamSampler(
                num_beams=self.num_beams or 1,
                length_penalty=1.0 if self.length_penalty is None else self.length_penalty,
                early_stopping=self.early_stopping or False,
                **options,
            )
        if not self.do_sample:
            return GreedySampler(**options)
        options["temperature"] = self.temperature or 1.0
        # As in `transformers`, where 50 is the default and 0 stands for all.
        top_k = 50 if self.top_k is None else self.top_k
        if self.top_p is not None and self.top_p < 1:
            return TopPSampler(p=self.top_p, k=top_k or None, **options)
        return TopKSampler(k=top_k, **options) if top_k else RandomSampler(**options)


# Option, what it makes of the scores, and the value that changes nothing: in the order in which
# `transformers` applies them.
_PROCESSING: tuple[tuple[str, Any, Any], ...] = (
    ("repetition_penalty", RepetitionPenalty, 1),
    ("no_repeat_ngram_size", NoRepeatNgrams, 0),
    ("min_length", MinLength, 0),
    ("min_new_tokens", MinNewTokens, 0),
    ("forced_bos_token_id", ForcedFirstToken, None),
    ("forced_eos_token_id", ForcedLastToken, None),
)


def _is_count(value, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_ids(value) -> bool:
    ids = value if isinstance(value, list) else [value]
    return bool(ids) and all(map(_is_count, ids))


_COUNT = ("a whole number of at least 0", _is_count)
_POSITIVE_COUNT = ("a whole number of at least 1", lambda value: _is_count(value, 1))
_POSITIVE = ("a number above 0", lambda value: _is_number(value) and value > 0)
_YES_OR_NO = ("True or False", lambda value: isinstance(value, bool))
# What each option can be.
_FORMS = {
    "num_beams": _POSITIVE_COUNT,
    "length_penalty": ("a number", _is_number),
    "early_stopping": (
        "True, False or 'never'",
        lambda value: isinstance(value, bool) or value == "never",
    ),
    "no_repeat_ngram_size": _COUNT,
    "min_length": _COUNT,
    "max_length": _POSITIVE_COUNT,
    "min_new_tokens": _COUNT,
    "max_new_tokens": _POSITIVE_COUNT,
    "repetition_penalty": _POSITIVE,
    "forced_bos_token_id": _COUNT,
    "forced_eos_token_id": _COUNT,
    "decoder_start_token_id": _COUNT,
    "bos_token_id": _COUNT,
    "pad_token_id": _COUNT,
    "eos_token_id": ("an id or a list of ids", _is_ids),
    "do_sample": _YES_OR_NO,
    "temperature": _POSITIVE,
    "top_k": _COUNT,
    "top_p": ("a number between 0 and 1", lambda value: _is_number(value) and 0 <= value <= 1),
}
