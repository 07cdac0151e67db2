"""The toy language of tests/unit/samplers as a model of `transformers`, to call its `generate`."""

import numpy as np
import torch
import transformers
from transformers.modeling_outputs import CausalLMOutput

from tests.unit.samplers import toy_language as toy


class ToyConfig(transformers.PretrainedConfig):
    model_type = "toy"


class ToyGenerator(transformers.PreTrainedModel, transformers.GenerationMixin):
    config_class = ToyConfig

    def __init__(self):
        super().__init__(ToyConfig(vocab_size=toy.VOCABULARY, is_decoder=True))
        self.anchor = torch.nn.Parameter(torch.zeros(1))
        self.generation_config = transformers.GenerationConfig()

    def prepare_inputs_for_generation(self, input_ids, **kwargs):
        return {"input_ids": input_ids}

    def forward(self, input_ids, **kwargs):
        cache = torch.zeros(len(input_ids), 6)
        all_logits = []
        for tokens in input_ids.T:
            cache = -0.9 * cache + torch.tensor(toy.VECTORS)[tokens]
            all_logits.append(cache @ torch.tensor(toy.OUTPUT) + torch.tensor(toy.TABLE)[tokens])
        return CausalLMOutput(logits=torch.stack(all_logits, dim=1))


def generated(prompt, **options):
    """Returns what `transformers` generates, with zeros behind the end of each row."""
    config = transformers.GenerationConfig(
        do_sample=False, use_cache=False, pad_token_id=0, **options
    )
    ids = ToyGenerator().generate(torch.tensor(prompt).long(), generation_config=config)
    missing = options["max_length"] - ids.shape[1]
    ids = torch.nn.functional.pad(ids, (0, missing)).numpy()
    return until_stop(ids, options["eos_token_id"], len(prompt[0]))


def until_stop(ids, stop_token_ids, start):
    """Returns ids with zeros behind the first stop token of each row that is not of the prompt."""
    is_stop = np.isin(ids, stop_token_ids) & (np.arange(ids.shape[1]) >= start)
    is_behind = np.cumsum(is_stop, axis=1) - is_stop > 0
    return np.where(is_behind, 0, ids)
