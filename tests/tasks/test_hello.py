"""The "hello" task."""

import itertools

import jax
import numpy as np
import optax

import seqmem
from seqmem import models, tasks


def test_no_function_of_the_current_character_spells_hello():
    vocabulary, inputs, targets = tasks.hello()
    size = len(vocabulary)
    functions = np.array(list(itertools.product(range(size), repeat=size)))  # all of them
    correct = (functions[:, inputs] == targets).sum(1)
    assert len(functions) == 256
    assert correct.max() == tasks.input_only_correct(inputs, targets) == 3


def test_rnn_of_8_units_learns_hello():
    vocabulary, inputs, targets = tasks.hello()
    size = len(vocabulary)
    keys = jax.random.split(jax.random.key(0))
    model = models.LanguageModel(seqmem.RNN(size, 8, key=keys[0]), size, key=keys[1])
    start, optimiser = model.init_state(), optax.adam(0.03)
    opt_state = optimiser.init(model)
    for _ in range(100):
        model, _, opt_state, loss = models.train_step(
            model, start, opt_state, inputs, targets, optimiser=optimiser
        )
    _, logits = seqmem.unroll(model, start, inputs)
    assert vocabulary.decode(logits.argmax(-1)) == "ello"
    assert loss < 0.05  # nats per character


def test_input_only_correct_counts_the_most_frequent_target_of_each_input():
    assert tasks.input_only_correct(np.array([0, 0, 0, 1]), np.array([2, 2, 3, 3])) == 3
