"""`LanguageModel`: a model of the next token, whose body is any layer."""

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from .._cells.initialisers import lecun_normal
from .._cells.pointwise import AbstractPointwiseCell
from .._core.cell import AbstractCell, AbstractLayer
from .._core.errors import bad_input
from .._core.method import AbstractMethod
from .._core.precision import as_precision, precision, state_dtype
from .._core.problem import State
from .._core.shapes import vector_size
from .._core.validation import check_positive, check_sizes
from .._methods.layer_by_layer import LayerByLayer
from .._methods.series import AbstractSeries
from .._unroll import unroll
from ..layers.embedding import looked_up
from ..layers.stack import Stack


class LanguageModel(AbstractSeries):
    """A model of the next token: an embedding, a body, a norm, and a head.

        e_t = c E[x_t]
        y_t = norm(body(e_1, …, e_t))
        logits_t = cap · tanh((V y_t + b) / cap)
        P(x_{t+1} = i | x_1 … x_t) = softmax(logits_t)_i

    It is a layer: `seqmem.unroll(model, state, tokens)` gives the logits of all steps, and
    `model(state, token)` is one step; lengths, resets, methods and the instruments of
    `seqmem.gradients` are those of every layer.

    Shapes: x_t (), a whole number, 0 <= x < tokens; e_t (size,), y_t (output,), logits (tokens,).
    The state is a tuple of one entry per part: those of embedding, norm and head are empty.

    Args:
        body: a cell or a network of layers; its inputs are vectors of `size` features.
        vocabulary_size: how many tokens there are, > 0.
        norm: a layer before the head, such as `seqmem.layers.RMSNorm(output)`; None: no norm.
        tied: whether V is E; the body's output then has the size of its input.
        bias: whether the head has b, which starts at 0.
        embedding_scale: c.
        logit_cap: cap, > 0; None is no cap.
        key: random key for E, normal entries of variance 1, or 1/size where V is tied to it, and V.

    Raises:
        ValueError: where a size does not fit, or for a logit_cap that is not above 0.

    Example:
        >>> import jax, seqmem
        >>> keys = jax.random.split(jax.random.key(0))
        >>> body = seqmem.layers.deep(seqmem.GRU, 5, 5, num_layers=2, key=keys[0])
        >>> model = seqmem.models.LanguageModel(body, 11, tied=True, key=keys[1])
        >>> state, logits = seqmem.unroll(model, None, jax.numpy.ones((7, 2), int))
        >>> logits.shape                                      # time, batch, tokens
        (7, 2, 11)
    """

    E: Float[Array, "tokens size"]
    body: Any
    norm: Any
    V: Float[Array, "tokens output"] | None
    b: Float[Array, " tokens"] | None
    embedding_scale: float = eqx.field(static=True)
    logit_cap: float | None = eqx.field(static=True)
    config: str | None = eqx.field(static=True)  # JSON; of a published layout, else None

    def __init__(
        self,
        body: AbstractLayer,
        vocabulary_size: int,
        *,
        norm: AbstractLayer | None = None,
        tied: bool = False,
        bias: bool = False,
        embedding_scale: float = 1.0,
        logit_cap: float | None = None,
        key: PRNGKeyArray,
    ):
        check_sizes("LanguageModel", vocabulary_size=vocabulary_size)
        if logit_cap is not None:
            remedy = "leave it out for logits without a bound."
            check_positive("LanguageModel", "logit_cap", logit_cap, remedy=remedy)
        size = vector_size(body.input_shape)
        if size is None:
            raise bad_input(
                f"LanguageModel got a body with input_shape {body.input_shape}.",
                "a body whose inputs are vectors of a known size.",
                "begin the body with a cell or a norm that has a size.",
            )
        output_size = _output_size(body)
        if tied and output_size != size:
            raise bad_input(
                f"LanguageModel got tied=True and a body from {size} to {output_size} features.",
                "as many outputs as inputs, since one matrix embeds tokens and reads them out.",
                "leave tied out, or choose the sizes of the body alike.",
            )
        keys = jax.random.split(key)
        dtype = precision(body)
        E = jax.random.normal(keys[0], (vocabulary_size, size), dtype)
        self.E = E / size**0.5 if tied else E
        self.body = body
        self.norm = norm
        V = lecun_normal(keys[1], (vocabulary_size, output_size)).astype(dtype)
        self.V = None if tied else V
        self.b = jnp.zeros(vocabulary_size, dtype) if bias else None
        self.embedding_scale = embedding_scale
        self.logit_cap = logit_cap
        self.config = None

    @property
    def layers(self) -> tuple[Any, ...]:
        norms = () if self.norm is None else (self.norm,)
        return (_Embedding(self.E, self.embedding_scale), self.body, *norms, self.head)

    @property
    def trunk(self) -> Stack:
        """All but the head: tokens to vectors."""
        return Stack(self.layers[:-1])

    @property
    def head(self) -> "Head":
        """Vectors to logits."""
        return Head(self.E if self.V is None else self.V, self.b, self.logit_cap)

    @property
    def vocabulary_size(self) -> int:
        return self.E.shape[-2]

    @property
    def output_shape(self) -> PyTree:
        return (self.vocabulary_size,)

    def map_first(self, change: Callable[[Any], Any]) -> Stack:
        first, *above = self.layers
        return Stack([change(first), *above])


class _Embedding(AbstractPointwiseCell):
    """e_t = c E[x_t]; NaN for a number outside the table."""

    input_shape: ClassVar = ()

    E: Float[Array, "tokens size"]
    c: float = eqx.field(static=True)

    def project(self, x):
        vector = looked_up(self.E, x)
        return vector if self.c == 1 else vector * jnp.asarray(self.c, vector.dtype)


class Head(AbstractPointwiseCell):
    """cap · tanh((V y_t + b) / cap), in at least float32."""

    V: Float[Array, "tokens output"]
    b: Float[Array, " tokens"] | None
    cap: float | None = eqx.field(static=True)

    @property
    def input_shape(self):
        return self.V.shape[-1:]

    def project(self, x):
        V = as_precision(self.V, precision(x))
        logits = jnp.matmul(x, V.mT, preferred_element_type=state_dtype(V))  # 16 bits are too few
        logits = logits if self.b is None else logits + self.b.astype(logits.dtype)
        return logits if self.cap is None else self.cap * jnp.tanh(logits / self.cap)


def run_trunk(
    model: LanguageModel,
    state: State | None,
    tokens: Int[Array, "time *batch"],
    *,
    method: AbstractMethod | None = None,
    **options: Any,
) -> tuple[State, Float[Array, "time *batch output"]]:
    """The state after some tokens, that of the whole model, and the vectors that the head gets.

    Args:
        model: the model.
        state: its state; None is the initial one.
        tokens: the inputs.
        method: how the body is evaluated; None is its default.
        options: passed on to `seqmem.unroll`.
    """
    trunk, head_state = model.trunk, model.head.init_state()
    if method is not None:
        others = [None] * (len(trunk.layers) - 2)
        method = LayerByLayer(None, method, *others)
    before = None if state is None else state[:-1]
    after, ys = unroll(trunk, before, tokens, method=method, **options)
    return (*after, head_state), ys


def _output_size(body: AbstractLayer) -> int:
    """The size of an output of any layer, also of one that has no single step.

    Raises:
        ValueError: for a body whose output is no vector.
    """
    if isinstance(body, AbstractCell) and body.can_step:  # in a fraction of the time
        shapes = body.output_shape
    else:
        xs = jax.ShapeDtypeStruct((1, *body.input_shape), precision(body))
        _, ys = jax.eval_shape(functools.partial(unroll, body, None), xs)
        shapes = jax.tree.map(lambda leaf: leaf.shape[1:], ys)
    size = vector_size(shapes)
    if size is None:
        raise bad_input(
            f"LanguageModel got a body with output_shape {shapes}.",
            "a body whose outputs are vectors.",
            "end the body with a seqmem.layers.Map that returns one.",
        )
    return size
