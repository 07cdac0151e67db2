"""Training on two processor cores, each busy with its own half of the batch."""

from concurrent.futures import ThreadPoolExecutor

import keras
import torch

from clozework.models import DebertaV3MaskedLM

THREADS = ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,))


class HalvedDebertaV3MaskedLM(DebertaV3MaskedLM):
    """A `DebertaV3MaskedLM` whose `fit` gives half of each batch to each of two threads (PyTorch).

    The gradients are averaged, so a step is the same as with whole batches. PyTorch would split
    every operation over the cores, which then wait for each other hundreds of times in a step; here
    they wait once, which on a machine that has other work to do is twice as fast.
    """

    def train_step(self, data):
        inputs, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
        parameters = [variable.value for variable in self.trainable_variables]

        def differentiate(rows):
            logits = self({name: value[rows] for name, value in inputs.items()}, training=True)
            loss = self.loss(labels[rows], logits, sample_weight=weights[rows])
            return logits.detach(), loss.detach(), torch.autograd.grad(loss, parameters)

        middle = len(labels) // 2
        halves = THREADS.map(differentiate, [slice(middle), slice(middle, None)])
        logits, losses, gradients = zip(*halves, strict=True)
        with torch.no_grad():
            mean = [(one + other) / 2 for one, other in zip(*gradients, strict=True)]
            self.optimizer.apply(mean, self.trainable_variables)
            self._loss_tracker.update_state(sum(losses) / 2, sample_weight=len(labels))
        return self.compute_metrics(inputs, labels, torch.cat(logits), sample_weight=weights)
