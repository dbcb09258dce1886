"""The reference of a scan: calls of a single step, one after another, and the chain rule."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from .case import Case
from .functions import Values
from .op import OpDraw, Results

# One step of a batch: ({"params", "state", "xs" [batch, ...]}, cotangents) -> (values, gradients).
Step = Callable[[dict[str, PyTree], Values | None], tuple[Values, Any]]


def run_steps(step: Step, case: Case, draw: OpDraw, empty: PyTree) -> Results:
    """All values and gradients of a scan.

    Args:
        step: evaluates one step of a batch.
        case: says where sequences start and end.
        draw: the inputs "params", "state" and "xs", and the cotangents of ys and final state.
        empty: the state [batch, ...] that a sequence starts from where `case` has a start.
    """
    params, state = draw.inputs["params"], draw.inputs["state"]
    befores, outputs = [], []
    for t in range(case.time):
        state = _select(case.resets[t], empty, state)
        befores.append(state)
        values, _ = step(_arguments(params, state, draw, t), None)
        state = _select(case.is_padding[t], state, values.state)
        outputs.append(_select(case.is_padding[t], _zeros(values.outputs), values.outputs))

    d_state, d_params, d_xs = draw.cotangents.state, None, []
    for t in reversed(range(case.time)):
        is_padding = case.is_padding[t]
        d_y = jax.tree.map(lambda leaf, t=t: leaf[t], draw.cotangents.outputs)
        d_y = _select(is_padding, _zeros(d_y), d_y)
        d_new = _select(is_padding, _zeros(d_state), d_state)
        _, gradients = step(_arguments(params, befores[t], draw, t), Values(d_y, d_new))
        if gradients is None:
            return {"ys": _stack(outputs), "final state": state}
        d_before = jax.tree.map(np.asarray, gradients["state"])
        d_state = _select(is_padding, d_state, d_before)
        d_state = _select(case.resets[t], _zeros(d_state), d_state)
        d_xs.append(gradients["xs"])
        wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), gradients["params"])
        d_params = wide if d_params is None else jax.tree.map(np.add, d_params, wide)
    return {
        "ys": _stack(outputs),
        "final state": state,
        "gradient of params": d_params,
        "gradient of state": d_state,
        "gradient of xs": _stack(d_xs[::-1]),
    }


def _arguments(params: PyTree, state: PyTree, draw: OpDraw, t: int) -> dict[str, PyTree]:
    xs = jax.tree.map(lambda leaf: leaf[t], draw.inputs["xs"])
    return {"params": params, "state": state, "xs": xs}


def _select(mask: np.ndarray, one: PyTree, other: PyTree) -> PyTree:
    """A choice per sequence, for trees of arrays [batch, ...]."""

    def select(one: Any, other: Any) -> np.ndarray:
        one, other = np.asarray(one), np.asarray(other)
        return np.where(mask.reshape(mask.shape + (1,) * (one.ndim - 1)), one, other)

    return jax.tree.map(select, one, other)


def _zeros(tree: PyTree) -> PyTree:
    return jax.tree.map(np.zeros_like, tree)


def _stack(trees: list[PyTree]) -> PyTree:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
