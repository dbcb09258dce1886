"""`KernelOp`: a kernel of linear attention, compared with the rule that it names."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from .case import Case
from .functions import Arguments, JaxRunner, NumpyFunction, NumpyRunner, Values, runner_of
from .layout import check_layout, rearrange
from .op import AbstractOp, OpDraw, Results, check_op_fields
from .rule import Sizes, State
from .rules import rule_of


@dataclasses.dataclass(frozen=True, eq=False)
class KernelOp(AbstractOp):
    """A kernel of linear attention and what it offers, for `seqmem.testing.check_op`.

    The function is called with arrays by name, `function(q=..., k=..., v=..., beta=...)`, and
    returns `(o, state)`. S is [key, value], D_t = S_{t−1} diag(exp(g_t)) over key channels, and
    o_t = scale · S_tᵀ q_t:

        "delta"         beta [head]                     S = S + k (β (v − Sᵀ k))ᵀ
        "gated_delta"   g [head], beta [head]           S = D + k (β (v − Dᵀ k))ᵀ
        "kda"           g [head, key], beta [head]      the same
        "gdn2"          g, b [head, key],               S = D + k (w ∘ v − Dᵀ (b ∘ k))ᵀ
                        w [head, value]
        "gla"           g [head, key]                   S = D + k vᵀ
        "simple_gla"    g [head]                        the same; also that of Mamba-2
        "retention"                                     S = γ S + k vᵀ, γ_h = 1 − 2^(−5−h)
        "rwkv7"         w, a, b [head, key]             S = diag(exp(w)) S + b (Sᵀ a)ᵀ + k vᵀ
        "mlstm"         i, f [head]                     C = σ(f) C + exp(i) k vᵀ,
                                                        n = σ(f) n + exp(i) k,
                                                        o = scale Cᵀ q / max(|scale nᵀ q|, 1)

    g and w are logarithms. The state of "mlstm" is (C, n, m), held divided by exp(m).

    Attributes:
        function: the kernel, of JAX arrays, or a `NumpyFunction`.
        rule: one of the names above.
        layout: the axes of q, k, v and gates: T time, B batch, H heads, D channels. B may be left
            out for a kernel of one sequence.
        state_layout: the axes of a state: B batch, H heads, K key, V value. B may be left out too.
        scale: the factor of q; None: 1/√(key size).
        sizes: (heads, key size, value size) of the test.
        initial_state: whether there is an argument `initial_state`.
        final_state: whether the function returns `(o, state)`, and not `o` alone.
        flags: which of these arguments there are: `lengths` [batch], the valid steps;
            `resets` [time, batch], True where S is emptied before a step; `segment_ids`, the same
            where they change; `cu_seqlens` [sequences + 1], for sequences joined in one, whose
            states are [sequences, ...].
        chunk_size: the steps that the kernel takes at once; None: 4, for the choice of lengths.
        any_length: whether the time need not be a multiple of `chunk_size`.
        dtypes: of q, k and v that the kernel takes. The first is used by all laws but "dtypes",
            and that of all gates.
        state_dtype: the dtype of states, which the kernel promises; None: the first of `dtypes`.
        least_log_decay: the least log-decay that the kernel promises to compute.

    Raises:
        ValueError: for an unknown rule, layout, flag or dtype.
    """

    has_slow_case: ClassVar = True
    output_name: ClassVar = "o"
    state_name: ClassVar = "initial_state"

    function: Callable | NumpyFunction
    rule: str
    layout: str = "BTHD"
    state_layout: str = "BHKV"
    scale: float | None = None
    sizes: tuple[int, int, int] = Sizes()
    initial_state: bool = True
    final_state: bool = True
    flags: tuple[str, ...] = ()
    chunk_size: int | None = None
    any_length: bool = True
    dtypes: tuple[str, ...] = ("float32",)
    state_dtype: str | None = None
    least_log_decay: float = -np.inf

    def __post_init__(self):
        rule_of(self.rule)
        check_layout("KernelOp", "layout", self.layout, "BTHD", optional="B")
        check_layout("KernelOp", "state_layout", self.state_layout, "BHKV", optional="B")
        check_op_fields(self)

    @property
    def step_names(self):
        return rule_of(self.rule).inputs

    def make_runner(self) -> NumpyRunner | JaxRunner:
        return runner_of(self.function, self._call, is_double=self.dtypes[0] == "float64")

    def _call(self, function: Callable, arguments: Arguments) -> Values:
        if not self.final_state:
            return Values(function(**arguments), None)
        outputs, state = function(**arguments)
        return Values(outputs, tuple(state) if self.scales_state else state)

    def strong_decays(self):
        rule = rule_of(self.rule)
        if rule.decay is None:
            return rule.no_strong_decay
        decays = [decay for decay in STRONG_DECAYS if decay >= self.least_log_decay]
        return tuple(decays) or f"it promises log-decays down to {self.least_log_decay:g}"

    def draw(self, case: Case) -> OpDraw:
        rule, sizes = rule_of(self.rule), Sizes(*self.sizes)
        rng = np.random.default_rng([case.seed, case.time, case.batch])
        arrays: dict[str, Any] = dict(rule.draw(rng, (case.time, case.batch), sizes))
        d_outputs = rng.normal(size=arrays["v"].shape)
        state = rule.draw_state(rng, case.batch, sizes)
        d_state = tuple(rng.normal(size=leaf.shape) for leaf in rule.unscaled(state))
        if case.is_slow:
            arrays = rule.slow(arrays)
        if case.log_decay is not None:
            assert rule.decay is not None
            decay = arrays[rule.decay]
            arrays[rule.decay] = np.where(rng.random(decay.shape) < 0.5, case.log_decay, decay)
        for name in arrays:
            is_gate = name in rule.gates
            dtype = self.dtypes[0] if is_gate else self.dtype_of(case)
            arrays[name] = arrays[name].astype(dtype)
        if case.has_state:
            arrays["initial_state"] = tuple(leaf.astype(self.dtype_of_state()) for leaf in state)
        return OpDraw(arrays, Values(d_outputs, d_state if self.final_state else None))

    def to_function(self, inputs: Arguments, case: Case) -> Arguments:
        arguments = self.flags_to_function(case)
        for name, leaf in inputs.items():
            if name == "initial_state":
                arguments[name] = self.state_to_function(leaf, case)
            else:
                arguments[name] = self.steps_to_function(leaf, case, self._axes(name))
        return arguments

    def state_to_function(self, state: State, case: Case) -> Any:
        leaves = [
            rearrange(leaf, axes, self._state_axes(axes))
            for leaf, axes in zip(state, rule_of(self.rule).state_axes, strict=True)
        ]
        return tuple(leaves) if len(leaves) > 1 else leaves[0]

    def state_from_function(self, state: Any, case: Case) -> State:
        return rule_of(self.rule).unscaled(self.state_to_carry(state, case))

    def state_to_carry(self, state: Any, case: Case) -> State:
        axes_of_leaves = rule_of(self.rule).state_axes
        leaves = state if len(axes_of_leaves) > 1 else (state,)
        return tuple(
            rearrange(leaf, self._state_axes(axes), axes)
            for leaf, axes in zip(leaves, axes_of_leaves, strict=True)
        )

    def gradients_from_function(self, gradients: Arguments, case: Case) -> Results:
        results: Results = {}
        for name, leaf in gradients.items():
            if leaf is None or name in self.flags:
                continue
            if name == "initial_state":
                compared = len(rule_of(self.rule).unscaled_axes)
                results[f"gradient of {name}"] = self.state_to_carry(leaf, case)[:compared]
            else:
                leaf = self.steps_from_function(leaf, case, self._axes(name))
                results[f"gradient of {name}"] = leaf
        return results

    def outputs_from_function(self, outputs: Any, case: Case) -> Any:
        return self.steps_from_function(outputs, case, "TBHD")

    def outputs_to_function(self, outputs: Any, case: Case) -> Any:
        return self.steps_to_function(outputs, case, "TBHD")

    @property
    def scales_state(self):
        return rule_of(self.rule).scales_state

    def state_cotangents(self, cotangents: State, state: Any, case: Case) -> Any:
        if self.scales_state:
            state = self.state_to_carry(state, case)
            cotangents = rule_of(self.rule).kernel_cotangents(cotangents, state)
        return self.state_to_function(cotangents, case)

    def unscaled_cotangents(self, cotangents: State, state: State) -> State:
        return rule_of(self.rule).unscaled_cotangents(cotangents, state)

    def expect(self, case: Case, draw: OpDraw) -> Results:
        rule = rule_of(self.rule)
        arrays = {
            name: leaf.astype(np.float64)
            for name, leaf in draw.inputs.items()
            if name in rule.inputs
        }
        state = draw.inputs.get("initial_state")
        if state is not None:
            state = tuple(leaf.astype(np.float64) for leaf in state)
        d_outputs, d_state = draw.cotangents
        if d_state is None:
            like = rule.draw_state(np.random.default_rng(0), case.batch, Sizes(*self.sizes))
            d_state = tuple(np.zeros_like(leaf) for leaf in rule.unscaled(like))
        scale = self.sizes[1] ** -0.5 if self.scale is None else self.scale
        run = rule.evaluate(arrays, state, case.marks, scale, (d_outputs, d_state))
        results: Results = {"o": run.outputs, "final state": run.state}
        return results | {f"gradient of {name}": leaf for name, leaf in run.gradients.items()}

    def _axes(self, name: str) -> str:
        is_per_head = rule_of(self.rule).gates.get(name) == "head"
        return "TBH" if is_per_head else "TBHD"

    def _state_axes(self, axes: str) -> str:
        return "".join(axis for axis in self.state_layout if axis in axes)


STRONG_DECAYS = (-10.0, -300.0, -1000.0, -np.inf)
