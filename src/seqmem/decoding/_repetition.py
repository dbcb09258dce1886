"""A penalty for tokens that were seen."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._core.errors import bad_input
from .._core.problem import State
from ._step import Step, check_number


class RepetitionPenalty(eqx.Module):
    """A step of a model whose logits are lower for tokens that were seen.

        logit_i ← logit_i / θ   where logit_i >= 0,    logit_i θ   where it is below 0,
                  for each token i among the inputs so far

    It is a step for every decoder. Its state is that of the model and the set of the tokens that
    were seen, which grows by the input of each step. The log-probability of a decoded sequence is
    that of the changed distribution.

    Source: Keskar et al. 2019, arXiv:1909.05858, section 4.1 (not read), which divides all logits;
    that negative ones are multiplied is the rule of Hugging Face's
    `RepetitionPenaltyLogitsProcessor`.

    Args:
        step: the model, (state, token) -> (state, logits), for one sequence.
        penalty: θ, > 0; above 1, tokens are repeated less often. Keskar et al. use 1.2.

    Raises:
        ValueError: for a penalty of 0 or below.

    Example:
        >>> import jax.numpy as jnp
        >>> from seqmem.decoding import RepetitionPenalty, greedy
        >>> step = RepetitionPenalty(lambda state, token: (state, jnp.array([3.0, 2.0, -1.0])), 2.0)
        >>> state = step.init_state((), vocabulary_size=3)
        >>> greedy(step, state, begin=2, max_length=3).tokens.tolist()
        [0, 1, 0]
    """

    step: Step
    penalty: Float[Array, ""]

    def __init__(self, step: Step, penalty: Float[Array, ""] | float):
        check_penalty("RepetitionPenalty", "penalty", penalty)
        self.step = step
        self.penalty = jnp.asarray(penalty)

    def init_state(
        self,
        state: State,
        *,
        vocabulary_size: int,
        seen: Int[Array | np.ndarray, " tokens"] | list[int] | None = None,
    ) -> tuple[State, Bool[Array, " vocabulary"]]:
        """The state before a sequence.

        Args:
            state: the model's state.
            vocabulary_size: how many tokens there are.
            seen: the tokens that the model read before; a number outside of the
                vocabulary does not count.
        """
        is_seen = jnp.zeros(vocabulary_size, bool)
        if seen is not None:
            ids = jnp.asarray(seen)
            ids = jnp.where(ids < 0, vocabulary_size, ids)  # a negative index would wrap
            is_seen = is_seen.at[ids].set(True, mode="drop")
        return state, is_seen

    def __call__(
        self, state: tuple[State, Bool[Array, " vocabulary"]], token: Int[Array, ""]
    ) -> tuple[tuple[State, Bool[Array, " vocabulary"]], Float[Array, " vocabulary"]]:
        model_state, is_seen = state
        model_state, logits = self.step(model_state, token)
        if logits.shape != is_seen.shape:
            raise bad_input(
                f"RepetitionPenalty got logits of shape {logits.shape} and a state for "
                f"{is_seen.size} tokens.",
                "the vocabulary of the step.",
                "call init_state with vocabulary_size, the number of logits.",
            )
        is_seen = is_seen.at[token].set(True)
        penalty = self.penalty.astype(logits.dtype)
        penalised = jnp.where(logits < 0, logits * penalty, logits / penalty)
        return (model_state, is_seen), jnp.where(is_seen, penalised, logits)


def check_penalty(owner: str, name: str, penalty: Float[Array, ""] | float) -> None:
    """Refuse a penalty that is not above 0.

    Raises:
        ValueError: for such a penalty.
    """
    check_number(
        owner,
        name,
        penalty,
        lambda value: 0 < value < float("inf"),
        "a number above 0; 1 is no penalty.",
        "leave it out, or choose one above 1, such as 1.2.",
    )
