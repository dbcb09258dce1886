"""The block form of the fast weights is the loop of single writes, whatever stands in them."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.given_writes import GivenWrites
from tests.helpers.slow import slow

TIME, HEADS, KEY, VALUE = 200, 2, 3, 5
LENGTHS = np.array([1, 2, 63, 64, 65, 200, 0])
BATCH = len(LENGTHS)


@dataclasses.dataclass(frozen=True)
class Kind:
    """Which leaves a write has."""

    decay: str | None = None  # per "head" or per "channel"
    removes: str | None = None  # at the "key", or at an "other"
    gains: bool = False
    writes: int | None = None
    key_heads: int = HEADS

    @property
    def write_shape(self):
        write_axes = 2 if self.writes is None else 3
        return seqmem.Write((None, None), *[(None,) * write_axes] * 6)


KINDS = {
    "plain": Kind(),
    "fading heads": Kind("head"),
    "fading channels": Kind("channel"),
    "delta rule": Kind(None, "key"),
    "gated delta rule": Kind("head", "key"),
    "fading channels, delta rule": Kind("channel", "key"),
    "fading channels, removing elsewhere": Kind("channel", "other"),
    "several writes": Kind("head", "key", writes=3),
    "several writes, fading channels": Kind("channel", "other", writes=2),
    "gains": Kind("head", gains=True),
    "gains without decay": Kind(None, gains=True),
    "shared keys": Kind("head", key_heads=1),
}


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def given(kind, decays, time=TIME, batch=BATCH, dtype=np.float64):
    """A cell with a learned initial memory, a state to begin with, and writes."""
    lead, several = (time, batch), () if kind.writes is None else (kind.writes,)
    rng = np.random.default_rng(3)

    def draw(heads, size, several=several):
        return rng.normal(size=(*lead, heads, *several, size))

    key = draw(kind.key_heads, KEY)
    key = key / np.linalg.norm(key, axis=-1, keepdims=True)
    write = {"query": draw(kind.key_heads, KEY, ()), "key": key, "value": draw(HEADS, VALUE)}
    size = {None: 1, "head": 1, "channel": KEY}[kind.decay]
    log_decay = decays(rng, (*lead, HEADS, *several, size))
    if kind.decay:
        write["log_decay"] = log_decay
    if kind.removes == "key":
        beta = rng.uniform(0, 2, (*lead, HEADS, *several, 1))
        write["remove"] = beta * (np.exp(log_decay) if kind.decay else 1) * key
    if kind.removes == "other":
        other = draw(HEADS, KEY)
        other = other / np.linalg.norm(other, axis=-1, keepdims=True)
        write |= {"remove": np.exp(log_decay) * other, "erase": rng.uniform(0, 1) * other}
    scale = None
    if kind.gains:
        write["log_gain"] = 3 * draw(HEADS, 1)
        scale = rng.normal(size=(HEADS, 1))
    memory = seqmem.Memory(rng.normal(size=(HEADS, VALUE, KEY)), scale)
    state = jax.tree.map(lambda leaf: rng.normal(size=(batch, *leaf.shape)), memory)
    memory, state, write = jax.tree.map(
        lambda leaf: jnp.asarray(leaf, dtype), (memory, state, seqmem.Write(**write))
    )
    shapes = (
        None if leaf is None else shape for shape, leaf in zip(kind.write_shape, write, strict=True)
    )
    return GivenWrites(memory, seqmem.Write(*shapes)), state, write


def gentle(rng, shape):
    return -rng.exponential(0.1, shape)


def strong(rng, shape):
    """Decays that a quotient or a difference of sums does not survive."""
    drawn = rng.choice([0.0, -0.1, -2000.0, -np.inf], shape, p=[0.3, 0.4, 0.15, 0.15])
    return drawn


def everything(method, cell, state, write, lengths=None, resets=None, *, reverse=False):
    """Outputs, final state, and the gradients of all three."""

    def run(learned, state, write):
        return seqmem.unroll(
            GivenWrites(learned, cell.write_shape),
            state,
            write,
            lengths=lengths,
            resets=resets,
            reverse=reverse,
            method=method,
        )

    out, pull = jax.vjp(run, cell.learned, state, write)
    leaves, tree = jax.tree.flatten(out)
    weights = [jnp.asarray(normal(n, *a.shape), a.dtype) for n, a in enumerate(leaves)]
    return out, pull(tree.unflatten(weights))


def compared(got, want, tolerance):
    def close(a, b):
        a, b = np.asarray(a), np.asarray(b)
        assert np.isfinite(b).all()
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max(initial=1))

    chex.assert_trees_all_equal_structs(got, want)
    jax.tree.map(close, got, want)


def some_resets(time, batch):
    resets = np.random.default_rng(5).random((time, batch)) < 0.01
    resets[[0, 5, 16, 32, 63, 64, 65, 128], :4] = True
    return jnp.asarray(resets)


run = jax.jit(everything, static_argnums=0, static_argnames="reverse")


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("decays", [gentle, slow(strong)], ids=lambda draw: draw.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_blocks_are_single_writes(kind, decays):
    """Values and gradients, with lengths, resets at borders of blocks, and a learned memory."""
    args = given(KINDS[kind], decays)
    marks = {"lengths": LENGTHS, "resets": some_resets(TIME, BATCH)}
    want = run(seqmem.ReferenceScan(), *args, **marks)
    compared(run(seqmem.Parallel(chunk_size=16), *args, **marks), want, 1e-9)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("kind", "reverse"),
    [
        *((kind, False) for kind in KINDS),
        ("gated delta rule", True),
        ("several writes", True),
        ("gains", True),
    ],
)
def test_long_blocks_are_single_writes_in_either_direction(kind, reverse):
    lengths = np.array([1, 2, 63, 64, 65, 200, 1000])
    marks = {"lengths": lengths, "resets": some_resets(1000, BATCH), "reverse": reverse}
    for decays in (gentle, strong):
        args = given(KINDS[kind], decays, time=1000)
        want = run(seqmem.ReferenceScan(), *args, **marks)
        compared(run(seqmem.Parallel(chunk_size=64), *args, **marks), want, 1e-9)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("time", [0, 1, 13])
def test_any_time_and_any_block_will_do(time):
    args = given(KINDS["fading channels, delta rule"], gentle, time=time)
    want = run(seqmem.ReferenceScan(), *args)
    for block in (1, 3, 11, 64):
        compared(run(seqmem.Parallel(chunk_size=block), *args), want, 1e-12)


SINGLE = {
    "−10": lambda rng, shape: np.full(shape, -10.0),
    "0 and −1000": lambda rng, shape: rng.choice([0.0, -1000.0], shape),
    "0 and −∞": lambda rng, shape: rng.choice([0.0, -np.inf], shape),
}


@pytest.mark.parametrize("kind", ["fading heads", "fading channels", "fading channels, delta rule"])
@pytest.mark.parametrize("decays", SINGLE)
def test_strong_decays_lose_no_digit_in_single_precision(decays, kind):
    args = given(KINDS[kind], SINGLE[decays], batch=2, dtype=np.float32)
    want = run(seqmem.ReferenceScan(), *args)
    compared(run(seqmem.Parallel(chunk_size=64), *args), want, 1e-5)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("leaf", ["query", "key", "value", "log_decay", "remove"])
def test_a_write_that_is_not_finite_is_lost_until_the_next_reset(leaf):
    """And nothing else is: not the steps before it in its block, not what comes after the reset."""
    cell, state, write = given(KINDS["fading channels, delta rule"], gentle, time=40, batch=1)
    resets = jnp.zeros((40, 1), bool).at[[9, 30], 0].set(True)
    bad = write._replace(**{leaf: getattr(write, leaf).at[3].set(jnp.nan)})

    def readings(write, method):
        return seqmem.unroll(cell, state, write, resets=resets, method=method)[1]

    clean = readings(write, seqmem.ReferenceScan())
    for method in (seqmem.ReferenceScan(), seqmem.Parallel(chunk_size=16)):
        got = readings(bad, method)
        lost = slice(3, 4) if leaf == "query" else slice(3, 9)
        assert jnp.isnan(got[lost]).all()
        kept = np.ones(40, bool)
        kept[lost] = False
        np.testing.assert_allclose(got[kept], clean[kept], rtol=0, atol=1e-12)

        def seen(write, method=method):
            return (readings(write, method)[9:] ** 2).sum()

        grads = jax.grad(seen)(bad)
        assert all(np.isfinite(leaf[9:]).all() for leaf in jax.tree.leaves(grads))


@pytest.mark.usefixtures("float64")
def test_a_memory_that_is_not_finite_is_lost_until_the_next_reset():
    cell, state, write = given(KINDS["gains"], gentle, time=40, batch=1)
    resets = jnp.zeros((40, 1), bool).at[21, 0].set(True)
    bad = state._replace(matrix=state.matrix.at[0, 1].set(jnp.nan))
    for method in (seqmem.ReferenceScan(), seqmem.Parallel(chunk_size=16)):
        reading, _ = seqmem.unroll(cell, bad, write, resets=resets, method=method)[1]
        clean, _ = seqmem.unroll(cell, state, write, resets=resets, method=method)[1]
        assert jnp.isnan(reading[:21, :, 1]).all()  # of this head
        np.testing.assert_array_equal(reading[:, :, 0], clean[:, :, 0])  # not of the other
        np.testing.assert_array_equal(reading[21:], clean[21:])


@pytest.mark.optimised
def test_a_memory_costs_one_matrix_per_block():
    """Temporaries of a gradient at T = 4096, one head of 64: q, k, v and y are 4 MiB."""
    size, time = 64, 4096
    step = jax.ShapeDtypeStruct((time, 1, size), jnp.float32)
    cell = GivenWrites(seqmem.Memory(jnp.zeros((1, size, size))))
    rules = {
        "delta rule": (seqmem.Write(step, step, step, None, step), 9),
        "a decay per channel": (seqmem.Write(step, step, step, step, step), 12),
    }
    for write, most in rules.values():

        def loss(write):
            return seqmem.unroll(cell, cell.init_state(), write)[1].sum()

        compiled = jax.jit(jax.grad(loss)).lower(write).compile()
        assert compiled.memory_analysis().temp_size_in_bytes <= most * 2**20


BAD = {
    "keys of another size": lambda w: w._replace(key=w.key[..., :-1]),
    "values of another size": lambda w: w._replace(value=w.value[..., :-1]),
    "too many heads": lambda w: w._replace(query=jnp.concatenate([w.query, w.query], 2)),
    "a decay of some channels": lambda w: w._replace(log_decay=w.key[..., :-1]),
    "a gain without a scale": lambda w: w._replace(log_gain=w.value[..., :1]),
}


@pytest.mark.parametrize("method", [seqmem.Scan(), seqmem.Parallel()], ids=repr)
@pytest.mark.parametrize("bad", BAD)
def test_a_write_that_does_not_fit_is_refused(bad, method):
    cell, state, write = given(KINDS["delta rule"], gentle, time=3, batch=1, dtype=np.float32)
    write = BAD[bad](write)
    cell = GivenWrites(cell.learned)
    with pytest.raises(ValueError, match=r"(?s)writes .*Expected: .*What to do: "):
        seqmem.unroll(cell, state, write, method=method)


MADE_WRONG = {
    "heads that do not divide": lambda key: seqmem.KDA(3, 7, num_heads=2, key=key),
    "no heads": lambda key: seqmem.RetNet(3, 6, num_heads=0, key=key),
    "groups that do not divide": lambda key: seqmem.SSD(
        3, 6, num_heads=3, key_size=5, num_groups=2, key=key
    ),
    "too strong": lambda key: seqmem.DeltaRule(3, 6, num_heads=2, beta_max=2.5, key=key),
    "no write": lambda key: seqmem.DeltaProduct(3, 6, num_heads=2, num_writes=0, key=key),
    "bound of 1": lambda key: seqmem.HGRN2(3, 6, num_heads=2, lower_bound=1.0, key=key),
    "heads of an sLSTM": lambda key: seqmem.SLSTM(3, 7, num_heads=2, key=key),
}


@pytest.mark.parametrize("make", MADE_WRONG)
def test_a_cell_that_cannot_be_is_refused(make):
    with pytest.raises(ValueError, match=r"(?s)Expected: .*What to do: "):
        MADE_WRONG[make](jax.random.key(0))
