"""From a file of examples to a trained model: what `clozework train` does."""

from clozework.training.runs import Training, TrainingOptions, TrainingResult, plan_training

__all__ = ["Training", "TrainingOptions", "TrainingResult", "plan_training"]
