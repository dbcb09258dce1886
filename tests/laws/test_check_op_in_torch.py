"""`check_op` on a kernel of PyTorch, as the guide has it."""

import pytest

from seqmem.testing import KernelOp, NumpyFunction, report_op

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = pytest.mark.slow


def delta_rule(q, k, v, beta, initial_state=None):
    batch, time, heads, key_size = k.shape
    S = torch.zeros(batch, heads, key_size, v.shape[-1])
    S = S if initial_state is None else initial_state
    outputs = []
    for t in range(time):
        u = beta[:, t, :, None] * (v[:, t] - torch.einsum("bhk,bhkv->bhv", k[:, t], S))
        S = S + k[:, t, :, :, None] * u[:, :, None]
        outputs.append(key_size**-0.5 * torch.einsum("bhk,bhkv->bhv", q[:, t], S))
    return torch.stack(outputs, 1), S


def detached(q, k, v, beta, initial_state=None):
    """The initial state gets no gradient of the final state."""
    o, S = delta_rule(q, k, v, beta, initial_state)
    return o, S if initial_state is None else S.detach() + 0 * S


def op_of(kernel):
    def forward(**arrays):
        o, state = kernel(**{name: torch.tensor(x) for name, x in arrays.items()})
        return o.numpy(), state.numpy()

    def vjp(arrays, cotangents):
        tensors = {name: torch.tensor(x, requires_grad=True) for name, x in arrays.items()}
        torch.autograd.backward(kernel(**tensors), [torch.tensor(d) for d in cotangents])
        return {name: x.grad.numpy() for name, x in tensors.items()}

    return KernelOp(NumpyFunction(forward, vjp), "delta")


def test_correct_kernel_of_torch_keeps_every_law():
    report = report_op(op_of(delta_rule), long_time=64)
    assert not report.laws("broken"), str(report)
    assert report["gradients"].outcome == "holds"


def test_fault_in_a_gradient_of_torch_is_named():
    report = report_op(op_of(detached), long_time=64)
    assert report.laws("broken") == ("gradients",)
