"""Gradients without a backward pass: the trace ∂s_t/∂θ is carried beside the state."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from .._core.cell import AbstractCell, project, readout, update
from .._core.errors import bad_input
from .._core.precision import as_precision, precision
from .._core.problem import State


class Traced(NamedTuple):
    """A state and its trace: for each real part of each parameter, ∂state/∂parameter."""

    state: State
    trace: tuple[PyTree, ...]


class RTRL(AbstractCell):
    """Real-time recurrent learning: a cell that carries the exact derivative of its memory.

        s_t = update(s_{t−1}, project(x_t))
        e_t = (∂s_t/∂s_{t−1}) e_{t−1} + ∂s_t/∂θ      e_0 = ∂s_0/∂θ, learned initial states included
        ∂L/∂θ = Σ_t (∂L_t/∂s_t e_t + the immediate part)

    The sum is the gradient of backpropagation through time, as `jax.grad` writes it, complex
    parameters included, as long as the parameters are held still over the run. A `Stack` is
    exact too, since its state is that of all layers.

    Shapes: a trace is [*state, *parameter], and a step costs O(state² · parameters); with `owned`
    it is [*parameter], and a step costs O(parameters). A complex parameter has two: of its real and
    of its imaginary part.
    Source: Williams & Zipser 1989, Neural Computation 1(2); owned, Zucchet et al. 2023,
    arXiv:2305.15947. Differs: any cell; the increments are JAX's. All of a step is in the state's
    precision.

    Args:
        cell: the cell; every leaf of its state is inexact.
        owned: for each parameter the axis that counts the units, where every entry feeds the one
            unit that it belongs to, and units do not feed each other; None for a parameter that
            feeds no state. A prefix of the cell's tree: 0 says it of all. Without it, the trace is
            complete. That it is true is not checked: where it is not, the gradient is wrong.

    Raises:
        ValueError: where the state is not inexact, or `owned` does not fit the shapes.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.MinGRU(3, 5, key=jax.random.key(0))
        >>> online = seqmem.gradients.RTRL(cell, owned=jax.tree.map(lambda _: 1, cell))
        >>> x = jax.numpy.ones(3)
        >>> state, y = online(online.init_state(), x)
        >>> online.output_gradient(state, x, 2 * y).W.shape  # of the loss Σ y²
        (2, 5, 3)
    """

    cell: AbstractCell
    axes: tuple[int | None, ...] | None = eqx.field(static=True)

    def __init__(self, cell: AbstractCell, owned: PyTree = None):
        self.cell = cell
        state = jax.eval_shape(cell.init_state)
        if not all(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in jax.tree.leaves(state)):
            raise bad_input(
                f"RTRL got a cell with the state {state}.",
                "a state of floating point numbers.",
                "use backpropagation through time, seqmem.unroll, for this cell.",
            )
        self.axes = None if owned is None else _axes(cell, owned, state)

    @property
    def input_shape(self) -> Any:  # pyright: ignore
        return self.cell.input_shape

    def init_state(self):
        wide = as_precision(self.cell, precision(jax.eval_shape(self.cell.init_state)))
        parts, build = _real_parts(wide)
        state, pull = jax.vjp(lambda parts: build(parts).init_state(), parts)
        if self.axes is None:
            return Traced(state, _rows(pull, state, len(parts)))
        real, imaginary = _ones(pull, state)
        return Traced(state, tuple(map(_joined, self._owned(real[0]), self._owned(imaginary[0]))))

    def project(self, x):
        return x

    def update(self, traced, x):
        parts, build = _real_parts(self.cell)
        state, trace = traced

        def step(parts: list[Array], state: State) -> State:
            cell = build(parts)
            return update(cell, state, project(cell, x, state))

        new, pull = jax.vjp(step, parts, state)
        if self.axes is not None:
            return Traced(new, self._carried(pull, new, trace))

        def push(tangent: State) -> State:
            return jax.jvp(lambda state: step(parts, state), (state,), (tangent,))[1]

        direct = _rows(lambda cotangent: pull(cotangent)[:1], new, len(parts))
        carried = [_pushed(push, old, part) for old, part in zip(trace, parts, strict=True)]
        return Traced(new, jax.tree.map(jnp.add, tuple(carried), direct))

    def readout(self, traced, x):
        return readout(self.cell, traced.state, project(self.cell, x, traced.state))

    def gradient(self, state: Traced, cotangent: State) -> AbstractCell:
        """The parameters' gradient through the memory, from ∂L_t/∂s_t as `jax.grad` gives it.

        Of one example; `jax.vmap` it over a batch. What L_t owes to the parameters of `readout` and
        of `project` within it is not in it: see `output_gradient`.
        """
        parts, build = _real_parts(self.cell)
        found = []
        for index, (part, trace) in enumerate(zip(parts, state.trace, strict=True)):
            if self.axes is None:
                pairs = zip(jax.tree.leaves(cotangent), jax.tree.leaves(trace), strict=True)
                total = sum(jnp.tensordot(c, e, c.ndim).real for c, e in pairs)
            elif trace is None:
                total = jnp.zeros_like(part)
            else:
                (units,) = jax.tree.leaves(cotangent)
                total = (_along(units, trace.ndim, self._axis(index)) * trace).real
            found.append(jnp.asarray(total, part.dtype))
        return build(found, sign=-1)

    def output_gradient(self, state: Traced, x: PyTree, cotangent: PyTree) -> AbstractCell:
        """The parameters' gradient of a step's loss from ∂L_t/∂y_t, all parts included.

        `state` is the one after `x`. Summed over the steps it is the gradient of Σ L_t.
        """
        parts, build = _real_parts(self.cell)

        def shown(parts: list[Array], own: State) -> PyTree:
            cell = build(parts)
            return readout(cell, own, project(cell, x, own))

        direct, towards_state = jax.vjp(shown, parts, state.state)[1](cotangent)
        through = self.gradient(state, towards_state)
        return jax.tree.map(jnp.add, build(direct, sign=-1), through)

    def _axis(self, index: int) -> int | None:
        return None if self.axes is None else self.axes[index]

    def _owned(self, parts: list[Array]) -> list[Array | None]:
        return [None if self._axis(i) is None else part for i, part in enumerate(parts)]

    def _carried(self, pull: Any, new: State, trace: tuple[PyTree, ...]) -> tuple[PyTree, ...]:
        """e_t of owned parameters: one pullback of ones says all of it, a second the imaginary."""
        (real, to_real), (imaginary, to_imaginary) = _ones(pull, new)
        result = []
        for index, old in enumerate(trace):
            if old is None:
                result.append(None)
                continue

            def moved(factor: State, direct: Array, old=old, index=index) -> Array:
                (units,) = jax.tree.leaves(factor)
                return (_along(units, old.ndim, self._axis(index)) * old).real + direct

            first = moved(to_real, real[index])
            second = None if imaginary[index] is None else moved(to_imaginary, imaginary[index])
            result.append(_joined(first, second))
        return tuple(result)


def _real_parts(cell: AbstractCell) -> tuple[list[Array], Any]:
    """The cell's inexact parameters as real arrays, and the way back; with `sign` −1 the way from
    derivatives to a gradient in JAX's convention, ∂/∂Re − i ∂/∂Im.
    """
    own, rest = eqx.partition(cell, eqx.is_inexact_array)
    leaves, tree = jax.tree.flatten(own)
    parts = [p for a in leaves for p in ([a.real, a.imag] if jnp.iscomplexobj(a) else [a])]

    def build(parts: list[Array], sign: int = 1) -> Any:
        left = iter(parts)
        whole = [
            jax.lax.complex(next(left), sign * next(left)) if jnp.iscomplexobj(a) else next(left)
            for a in leaves
        ]
        built = jax.tree.unflatten(tree, whole)
        return built if sign < 0 else eqx.combine(built, rest)

    return parts, build


def _axes(cell: AbstractCell, owned: PyTree, state: PyTree) -> tuple[int | None, ...]:
    own = eqx.filter(cell, eqx.is_inexact_array)
    states = jax.tree.leaves(state)
    if len(states) != 1 or states[0].ndim != 1:
        raise bad_input(
            f"RTRL got owned for a state {jax.tree.map(jnp.shape, state)}.",
            "a state of one array, [units].",
            "leave owned out; the trace is then complete.",
        )

    def none(node: Any) -> bool:
        return node is None

    try:
        axes = jax.tree.leaves(
            jax.tree.map(
                lambda axis, part: jax.tree.map(lambda _: -1 if axis is None else axis, part),
                owned,
                own,
                is_leaf=none,
            )
        )
    except (ValueError, TypeError) as error:
        raise bad_input(
            f"RTRL got owned={owned!r}.",
            "a prefix of the cell's tree, with an axis or None for each parameter.",
            "change the leaves of jax.tree.map(lambda _: 0, cell).",
        ) from error
    units, found = states[0].shape[0], []
    for (path, leaf), axis in zip(jax.tree.leaves_with_path(own), axes, strict=True):
        if axis != -1 and not (0 <= axis < leaf.ndim and leaf.shape[axis] == units):
            raise bad_input(
                f"owned says axis {axis} of the cell's {jax.tree_util.keystr(path)}, of shape "
                f"{leaf.shape}.",
                f"an axis of {units} entries, the units of the state, or None.",
                "name the axis that counts units; None if the parameter feeds no state.",
            )
        found += [None if axis == -1 else axis] * (2 if jnp.iscomplexobj(leaf) else 1)
    return tuple(found)


def _along(units: Array, ndim: int, axis: int | None) -> Array:
    return units.reshape([-1 if i == axis else 1 for i in range(ndim)])


def _joined(real: Array | None, imaginary: Array | None) -> Array | None:
    return real if real is None or imaginary is None else jax.lax.complex(real, imaginary)


def _ones(pull: Any, state: State) -> tuple[Any, Any]:
    """The derivatives of each unit's real and imaginary part, the latter None for a real state."""
    real = pull(jax.tree.map(jnp.ones_like, state))
    if not any(map(jnp.iscomplexobj, jax.tree.leaves(state))):
        return real, ([None] * len(real[0]), None)
    return real, pull(jax.tree.map(lambda leaf: jnp.full_like(leaf, -1j), state))


def _rows(pull: Any, state: State, count: int) -> tuple[State, ...]:
    """∂state/∂part for every part, [*state, *part], from one pullback per entry of the state."""
    leaves, tree = jax.tree.flatten(state)
    found = []
    for index, leaf in enumerate(leaves):

        def row(units: Array, index=index) -> list[Array]:
            zeros = [jnp.zeros_like(other) for other in leaves]
            return pull(jax.tree.unflatten(tree, [*zeros[:index], units, *zeros[index + 1 :]]))[0]

        basis = jnp.eye(leaf.size, dtype=leaf.dtype).reshape(leaf.size, *leaf.shape)
        rows = jax.vmap(row)(basis)
        if jnp.iscomplexobj(leaf):
            rows = list(map(jax.lax.complex, rows, jax.vmap(row)(-1j * basis)))
        found.append([rows[i].reshape(leaf.shape + rows[i].shape[1:]) for i in range(count)])
    return tuple(jax.tree.unflatten(tree, [row[i] for row in found]) for i in range(count))


def _pushed(push: Any, trace: State, part: Array) -> State:
    for _ in range(part.ndim):
        push = jax.vmap(push, in_axes=-1, out_axes=-1)
    return push(trace)
