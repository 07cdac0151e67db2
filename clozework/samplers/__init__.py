"""Choice of the next token: what turns logits into a text.

A sampler runs the loop of generation around a function `next(prompt, cache, index)`; its
`logits_processing` changes the scores first.
"""

from clozework.samplers.beam_sampler import BeamSampler
from clozework.samplers.beams import SharedCache
from clozework.samplers.contrastive_sampler import ContrastiveSampler
from clozework.samplers.logits_processing import (
    ForcedFirstToken,
    ForcedLastToken,
    GenerationStep,
    LogitsProcessing,
    MinLength,
    MinNewTokens,
    NoRepeatNgrams,
    RepetitionPenalty,
)
from clozework.samplers.sampler import Sampler
from clozework.samplers.serialization import deserialize, get, serialize
from clozework.samplers.speculative_sampler import SpeculativeSampler
from clozework.samplers.token_samplers import (
    GreedySampler,
    RandomSampler,
    TopKSampler,
    TopPSampler,
)

__all__ = [
    "BeamSampler",
    "ContrastiveSampler",
    "ForcedFirstToken",
    "ForcedLastToken",
    "GenerationStep",
    "GreedySampler",
    "LogitsProcessing",
    "MinLength",
    "MinNewTokens",
    "NoRepeatNgrams",
    "RandomSampler",
    "RepetitionPenalty",
    "Sampler",
    "SharedCache",
    "SpeculativeSampler",
    "TopKSampler",
    "TopPSampler",
    "deserialize",
    "get",
    "serialize",
]
