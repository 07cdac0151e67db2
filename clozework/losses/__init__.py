"""Losses for `compile`, beside those of Keras."""

from clozework.losses.in_batch_negatives import InBatchNegatives

__all__ = ["InBatchNegatives"]
