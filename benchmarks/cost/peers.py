"""The same LSTM or GRU in every library: one function each, from a case to calls to be timed.

Every program takes xs [time, batch, input] from a zero state to ys [time, batch, hidden]. The
forward program returns ys; the gradient program returns the sum of the squares of ys and its
gradient with respect to the parameters, not to the inputs. A library is imported by its function,
so that a missing one is reported and the others still run.

A JAX program runs on the first device, as its users run it, or with its batch spread over all
devices, by `seqmem.training.DataParallel`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import seqmem

from ..common.machine import available_cores
from ..common.timing import compile_program


class Sizes(NamedTuple):
    time: int
    batch: int
    input: int
    hidden: int

    def __str__(self) -> str:
        return ", ".join(map(str, self))


class Case(NamedTuple):
    """What a library is asked to run.

    Attributes:
        cell: "LSTM" or "GRU".
        sizes: its sizes.
        xs: the inputs.
        devices: over how many devices the batch is spread.
    """

    cell: str
    sizes: Sizes
    xs: np.ndarray
    devices: int


class Program(NamedTuple):
    """Calls that return when their work is done, and XLA's figures of the gradient program."""

    forward: Callable[[], Any]
    gradient: Callable[[], Any]
    parameters: int
    compile_seconds: float | None = None
    temp_bytes: int | None = None


@dataclasses.dataclass(frozen=True)
class Peer:
    """A library.

    Attributes:
        package: its name in the package index.
        build: (case) -> program.
        differs: how its cells or its call differ from seqmem's, for the notes of the report.
        in_jax: whether it counts as a JAX peer.
        is_sharded: whether the batch is spread over all devices.
    """

    package: str
    build: Callable[[Case], Program]
    differs: str
    in_jax: bool = True
    is_sharded: bool = False


class Calls(NamedTuple):
    """Calls that may return before their work is done."""

    forward: Callable[[], Any]
    gradient: Callable[[], Any]
    parameters: int


def seqmem_forward(method: seqmem.AbstractMethod | None) -> Callable[[Any, Any], Any]:
    def apply(cell: Any, xs: Any) -> Any:
        return seqmem.unroll(cell, None, xs, method=method)[1]

    return apply


def gradient_of_squares(apply: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def loss(parameters: Any, xs: Any) -> Any:
        return jnp.sum(apply(parameters, xs) ** 2)

    return jax.value_and_grad(loss)


def _jax_program(apply: Callable[[Any, Any], Any], parameters: Any, case: Case) -> Program:
    if case.devices == 1:
        args = jax.device_put((parameters, case.xs), jax.devices()[0])
    else:
        devices = seqmem.training.DataParallel(jax.devices()[: case.devices])
        args = devices.replicate(parameters), devices.shard(case.xs)
    forward = compile_program(apply, *args)
    gradient = compile_program(gradient_of_squares(apply), *args)
    return Program(
        lambda: jax.block_until_ready(forward.call(*args)),
        lambda: jax.block_until_ready(gradient.call(*args)),
        sum(leaf.size for leaf in jax.tree.leaves(args[0])),
        gradient.seconds,
        gradient.temp_bytes,
    )


def _seqmem(method: Any) -> Callable[[Case], Program]:
    def build(case: Case) -> Program:
        make = getattr(seqmem, case.cell)
        cell = make(case.sizes.input, case.sizes.hidden, key=jax.random.key(0))
        return _jax_program(seqmem_forward(method), cell, case)

    return build


def _equinox(case: Case) -> Program:
    name, sizes = case.cell, case.sizes
    make = {"LSTM": eqx.nn.LSTMCell, "GRU": eqx.nn.GRUCell}[name]
    cell = make(sizes.input, sizes.hidden, key=jax.random.key(0))
    zero = jnp.zeros((sizes.batch, sizes.hidden))

    def apply(cell: Any, xs: Any) -> Any:
        def step(state: Any, x: Any) -> Any:
            state = jax.vmap(cell)(x, state)
            return state, state[0] if name == "LSTM" else state

        return jax.lax.scan(step, (zero, zero) if name == "LSTM" else zero, xs)[1]

    return _jax_program(apply, cell, case)


def _flax(case: Case) -> Program:
    name, sizes = case.cell, case.sizes
    from flax import nnx

    make = {"LSTM": nnx.OptimizedLSTMCell, "GRU": nnx.GRUCell}[name]
    cell = make(sizes.input, sizes.hidden, rngs=nnx.Rngs(0))
    zero = cell.initialize_carry((sizes.batch, sizes.input), nnx.Rngs(0))
    # A stream of random numbers for the carry could not be advanced under jax.grad.
    graph, parameters = nnx.split(nnx.RNN(cell, time_major=True, rngs=False))

    def apply(parameters: Any, xs: Any) -> Any:
        return nnx.merge(graph, parameters)(xs, initial_carry=zero)

    return _jax_program(apply, parameters, case)


def _haiku(case: Case) -> Program:
    name, sizes = case.cell, case.sizes
    import haiku as hk

    def unroll(xs: Any) -> Any:
        core = {"LSTM": hk.LSTM, "GRU": hk.GRU}[name](sizes.hidden)
        return hk.dynamic_unroll(core, xs, core.initial_state(sizes.batch))[0]

    init, apply = hk.without_apply_rng(hk.transform(unroll))
    return _jax_program(apply, init(jax.random.key(0), case.xs), case)


def _memax(case: Case) -> Program:
    name, sizes = case.cell, case.sizes
    from memax.equinox.set_actions.gru import GRU
    from memax.equinox.set_actions.lstm import LSTM

    linear_key, key = jax.random.split(jax.random.key(0))
    layer = {"LSTM": LSTM, "GRU": GRU}[name](sizes.hidden, key=key)
    linear = None
    if sizes.input != sizes.hidden:
        linear = eqx.nn.Linear(sizes.input, sizes.hidden, key=linear_key)
    parameters, static = eqx.partition((linear, layer), eqx.is_inexact_array)
    starts = jnp.zeros(sizes.time, bool)

    def apply(parameters: Any, xs: Any) -> Any:
        linear, layer = eqx.combine(parameters, static)

        def one_example(xs: Any) -> Any:
            embedded = xs if linear is None else jax.vmap(linear)(xs)
            return layer(layer.initialize_carry(), (embedded, starts))[1]

        return jax.vmap(one_example, in_axes=1, out_axes=1)(xs)

    return _jax_program(apply, parameters, case)


def torch_device() -> str:
    """Where PyTorch runs: on the device of the JAX programs."""
    return "cpu" if jax.devices()[0].platform == "cpu" else "cuda"


def torch_calls(name: str, sizes: Sizes, xs: np.ndarray, dtype: str = "float32") -> Calls:
    """PyTorch's module, which is cuDNN's on an NVIDIA GPU."""
    import torch

    torch.manual_seed(0)
    rnn = {"LSTM": torch.nn.LSTM, "GRU": torch.nn.GRU}[name](sizes.input, sizes.hidden)
    rnn = rnn.to(torch_device(), getattr(torch, dtype))
    x = torch.from_numpy(xs).to(torch_device(), getattr(torch, dtype))
    parameters = list(rnn.parameters())

    def forward() -> Any:
        with torch.inference_mode():
            return rnn(x)[0]

    def gradient() -> Any:
        loss = rnn(x)[0].square().sum()
        return loss.detach(), torch.autograd.grad(loss, parameters)

    return Calls(forward, gradient, sum(p.numel() for p in parameters))


def wait_for_torch(values: Any = None) -> Any:
    """The values, when the work of all calls is done."""
    import torch

    if torch_device() == "cuda":
        torch.cuda.synchronize()
    return values


def _torch(case: Case) -> Program:
    import torch

    torch.set_num_threads(available_cores())
    calls = torch_calls(case.cell, case.sizes, case.xs)
    return Program(
        lambda: wait_for_torch(calls.forward()),
        lambda: wait_for_torch(calls.gradient()),
        calls.parameters,
    )


OURS = {
    "seqmem": Peer("seqmem", _seqmem(None), "its batch is spread over the devices", False, True),
    "seqmem lean": Peer(
        "seqmem",
        _seqmem(seqmem.Scan(recompute=True)),
        "`method=Scan(recompute=True)`",
        False,
        True,
    ),
}

PEERS = {
    "equinox": Peer("equinox", _equinox, "`vmap` of the cell inside `lax.scan`"),
    "flax": Peer(
        "flax",
        _flax,
        "`nnx.RNN` of `OptimizedLSTMCell` or `GRUCell` (no bias inside the reset), under "
        "`jax.jit`, without the cost of `nnx.jit` per call",
    ),
    "haiku": Peer("dm-haiku", _haiku, "`hk.dynamic_unroll`; its GRU resets before the product"),
    "memax": Peer(
        "memax",
        _memax,
        "its cells need inputs as wide as the state, so a linear layer maps narrower ones; one "
        "product per gate, a reset flag at every step; its LSTM has no tanh after c, its GRU "
        "resets before the product",
    ),
    "torch": Peer("torch", _torch, "`nn.LSTM` or `nn.GRU`, two biases per gate", False),
}

SHARDED = {
    f"{name} sharded": dataclasses.replace(
        PEERS[name], differs="as above, its batch spread over the devices", is_sharded=True
    )
    for name in ("equinox", "flax")
}
