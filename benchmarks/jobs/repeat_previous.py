"""A partially observable environment: an agent sees cards and repeats the one of some steps ago."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray


class Cards(NamedTuple):
    """The state of the environment.

    Attributes:
        last: the last `delay` + 1 cards; the agent sees the last of them.
        step: of the episode, from 0.
    """

    last: Int[Array, " cards"]
    step: Int[Array, ""]


class Transition(NamedTuple):
    """What follows an action. After the last step of an episode, the first observation of the next.

    Attributes:
        observation: the next card, one-hot.
        reward: of the action.
        done: whether the action was the last of its episode.
    """

    observation: Float[Array, " suit"]
    reward: Float[Array, ""]
    done: Bool[Array, ""]


class RepeatPrevious(NamedTuple):
    """An episode is `length` random cards; the action of a step is the card of `delay` steps ago.

        reward_t = ±1/(length − delay)  for a right or wrong action, t ≥ delay;  0 before

    The cards are independent, so without a memory the best expected return is 2/suits − 1, that of
    guessing. With one it is 1. Functions are of one environment; `jax.vmap` makes many.

    Source: RepeatPrevious of POPGym, Morad et al. 2023, arXiv:2303.01859. Differs: the cards of an
    episode are drawn independently, not dealt from decks, so that the return of guessing is exact.
    """

    delay: int = 4
    suits: int = 4
    length: int = 24

    @property
    def chance(self) -> float:
        """The best expected return without a memory."""
        return 2 / self.suits - 1

    def reset(self, key: PRNGKeyArray) -> tuple[Cards, Float[Array, " suit"]]:
        last = jax.random.randint(key, (self.delay + 1,), 0, self.suits)
        return Cards(last, jnp.zeros((), jnp.int32)), self._see(last)

    def step(
        self, state: Cards, action: Int[Array, ""], *, key: PRNGKeyArray
    ) -> tuple[Cards, Transition]:
        answer = jnp.where(action == state.last[0], 1.0, -1.0) / (self.length - self.delay)
        reward = jnp.where(state.step >= self.delay, answer, 0.0)
        done = state.step + 1 == self.length
        card = jax.random.randint(key, (1,), 0, self.suits)
        last = jnp.concatenate([state.last[1:], card])
        step = jnp.where(done, 0, state.step + 1)
        return Cards(last, step), Transition(self._see(last), reward, done)

    def _see(self, last: Int[Array, " cards"]) -> Float[Array, " suit"]:
        return jax.nn.one_hot(last[-1], self.suits)
