"""Samplers that choose each token by its probability alone."""

import keras
from keras import ops

from clozework.errors import ConfigError
from clozework.samplers.logits_processing import processed
from clozework.samplers.sampler import Sampler

__all__ = ["GreedySampler", "RandomSampler", "TopKSampler", "TopPSampler", "drawn"]


@keras.saving.register_keras_serializable("clozework")
class GreedySampler(Sampler):
    """Takes the likeliest token each time; see `Sampler`.

    Example:
    >>> sampler = GreedySampler()
    >>> ops.convert_to_numpy(sampler.get_next_token(np.array([[0.1, 0.6, 0.3]]))).tolist()
    [1]
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)

    def choose(self, logits, step):
        # The likeliest token has the highest logit: probabilities are not needed.
        return self.get_next_token(
            processed(ops.cast(logits, "float32"), step, self.logits_processing)
        )

    def get_next_token(self, probabilities):
        return ops.argmax(probabilities, axis=-1)

    def distribution(self, probabilities):
        likeliest = self.get_next_token(probabilities)
        return ops.one_hot(likeliest, probabilities.shape[-1], dtype=probabilities.dtype)


@keras.saving.register_keras_serializable("clozework")
class RandomSampler(Sampler):
    """Draws from all tokens by their probability; see `Sampler`.

    Args:
        seed: Makes the sequence of tokens the same each time; None takes Keras's.

    Example:
    >>> sampler = RandomSampler(seed=1)
    >>> ops.convert_to_numpy(sampler.get_next_token(np.array([[0.0, 1.0, 0.0]]))).tolist()
    [1]
    """

    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def get_next_token(self, probabilities):
        return drawn(probabilities, self.seed_generator)[:, 0]

    def distribution(self, probabilities):
        return probabilities

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable("clozework")
class TopKSampler(Sampler):
    """Draws from the `k` likeliest tokens by their probability; see `Sampler`.

    Paper: Fan et al., 2018, https://arxiv.org/abs/1805.04833

    Args:
        k: Number of tokens; all of them, where the vocabulary has fewer.
        seed: As in `RandomSampler`.

    Example:
    >>> sampler = TopKSampler(k=1)
    >>> ops.convert_to_numpy(sampler.get_next_token(np.array([[0.1, 0.6, 0.3]]))).tolist()
    [1]
    """

    def __init__(self, k=5, seed=None, **kwargs):
        super().__init__(**kwargs)
        _check_k(k)
        self.k = k
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def get_next_token(self, probabilities):
        values, ids = self._kept(probabilities)
        return ops.take_along_axis(ids, drawn(values, self.seed_generator), axis=-1)[:, 0]

    def distribution(self, probabilities):
        values, ids = self._kept(probabilities)
        return _spread(values, ids, probabilities.shape)

    def _kept(self, probabilities):
        """Returns the weights of the tokens that are drawn from, `(batch, k)`, and their ids."""
        return ops.top_k(probabilities, k=min(self.k, probabilities.shape[-1]), sorted=False)

    def get_config(self):
        return {**super().get_config(), "k": self.k, "seed": self.seed}


@keras.saving.register_keras_serializable("clozework")
class TopPSampler(Sampler):
    """Draws from the fewest likeliest tokens whose probabilities exceed `p`; see `Sampler`.

    Paper: Holtzman et al., 2019, https://arxiv.org/abs/1904.09751

    Args:
        p: The sum of probabilities to reach.
        k: Only the `k` likeliest tokens are looked at, which is faster; None for all.
        seed: As in `RandomSampler`.

    Example:
    >>> sampler = TopPSampler(p=0.5)
    >>> ops.convert_to_numpy(sampler.get_next_token(np.array([[0.1, 0.6, 0.3]]))).tolist()
    [1]
    """

    def __init__(self, p=0.1, k=None, seed=None, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= p <= 1:
            raise ConfigError(f"`p` must be between 0 and 1, not {p!r}.")
        if k is not None:
            _check_k(k)
        self.p = p
        self.k = k
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def get_next_token(self, probabilities):
        values, ids = self._kept(probabilities)
        return ops.take_along_axis(ids, drawn(values, self.seed_generator), axis=-1)[:, 0]

    def distribution(self, probabilities):
        values, ids = self._kept(probabilities)
        return _spread(values, ids, probabilities.shape)

    def _kept(self, probabilities):
        """Returns the weights of the tokens that are drawn from, `(batch, k)`, and their ids."""
        vocabulary_size = probabilities.shape[-1]
        k = min(self.k or vocabulary_size, vocabulary_size)
        values, ids = ops.top_k(probabilities, k=k, sorted=True)
        # The token that goes past `p` is still in.
        before = ops.pad(ops.cumsum(values, axis=-1)[:, :-1], ((0, 0), (1, 0)))
        return ops.where(before <= self.p, values, 0.0), ids

    def get_config(self):
        return {**super().get_config(), "p": self.p, "k": self.k, "seed": self.seed}


def drawn(weights, seed_generator):
    """Returns for each row the place, `(batch, 1)`, of one of its weights, drawn by weight."""
    return keras.random.categorical(ops.log(weights), 1, dtype="int32", seed=seed_generator)


def _spread(values, ids, shape):
    """Returns probabilities of the given shape, `(batch, vocabulary)`, from weights of some ids."""
    values = values / ops.sum(values, axis=-1, keepdims=True)
    rows = ops.broadcast_to(ops.arange(shape[0], dtype="int32")[:, None], ids.shape)
    places = ops.stack([rows, ops.cast(ids, "int32")], axis=-1)
    return ops.scatter(ops.reshape(places, (-1, 2)), ops.reshape(values, (-1,)), tuple(shape))


def _check_k(k) -> None:
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise ConfigError(f"`k` must be a whole number of at least 1, not {k!r}.")
