"""Every cell that a study can name is built and runs; shapes alone, without compilation."""

import argparse

import jax
import jax.numpy as jnp
import pytest

import seqmem
from benchmarks.studies import character_models, memory_cells, memory_problems


@pytest.mark.slow
@pytest.mark.parametrize("name", memory_cells.CELLS)
def test_answer_model_has_an_output_for_each_answer(name):
    task = memory_problems.PROBLEMS["recall"].train

    def answers(key):
        model = memory_cells.AnswerModel(name, task, 6, key)
        return model(jnp.zeros((5, 2, task.input_size)))

    assert jax.eval_shape(answers, jax.random.key(0)).shape == (5, 2, task.output_size)


@pytest.mark.parametrize("name", character_models.CELLS)
def test_character_model_has_a_logit_for_each_character(name):
    options = argparse.Namespace(width=6, gain=1.5)

    def logits(key):
        model = character_models.initial_model(name, 7, options, key)
        return seqmem.unroll(model, None, jnp.zeros((5, 2), int))[1]

    assert jax.eval_shape(logits, jax.random.key(0)).shape == (5, 2, 7)
