"""Writes tiny language models of flash-linear-attention into `pretrained` beside it, with what they
compute, as make_pretrained.py says.

    PYTHONPATH=FLA python tests/reference/make_fla_models.py [NAME ...]

with torch==2.13.0, transformers==5.24.0, einops==0.8.2 and triton==3.7.1 on a CPU. FLA is a
checkout of github.com/fla-org/flash-linear-attention at commit bc3b101 (version 0.5.2). Its public
classes run as they stand, on the references that stand beside its GPU kernels; what has none is
written out below and in make_blocks.py.
"""

import functools
import sys
from unittest import mock

import fla
import make_pretrained
import torch
import transformers
from fla import modules
from fla.layers import delta_net, gated_deltanet, gla, kda, rwkv7
from fla.models import (
    DeltaNetConfig,
    DeltaNetForCausalLM,
    GatedDeltaNetConfig,
    GatedDeltaNetForCausalLM,
    GLAConfig,
    GLAForCausalLM,
    KDAConfig,
    KDAForCausalLM,
    RWKV7Config,
    RWKV7ForCausalLM,
)
from fla.models.rwkv7 import modeling_rwkv7
from fla.modules import activations, layernorm, mlp
from fla.modules.token_shift import token_shift_ref
from fla.ops.delta_rule.naive import delta_rule_recurrence
from fla.ops.gated_delta_rule.naive import naive_recurrent_gated_delta_rule
from fla.ops.generalized_delta_rule.dplr.naive import dplr_recurrence
from fla.ops.gla.naive import naive_recurrent_gla
from fla.ops.kda.gate import naive_kda_gate
from fla.ops.kda.naive import naive_recurrent_kda
from fla.ops.rwkv7.fused_addcmul import torch_addcmul_rwkv7
from fla.ops.rwkv7.fused_k_update import k_update_ref
from fla.ops.rwkv7.gate_output_correction import gate_output_correction_ref
from make_blocks import short_convolution, unit
from torch.nn.functional import silu, softplus

MODELS = {
    "gated_deltanet": (
        GatedDeltaNetForCausalLM,
        GatedDeltaNetConfig(
            vocab_size=11,
            hidden_size=6,
            num_hidden_layers=2,
            head_dim=2,
            num_heads=2,
            num_v_heads=4,
            expand_v=1.5,
            allow_neg_eigval=True,
            intermediate_size=10,
        ),
    ),
    "gla": (
        GLAForCausalLM,
        GLAConfig(
            vocab_size=11,
            hidden_size=12,
            num_hidden_layers=2,
            num_heads=3,
            expand_v=1.25,
            intermediate_size=10,
            tie_word_embeddings=True,
        ),
    ),
    "delta_net": (
        DeltaNetForCausalLM,
        DeltaNetConfig(
            vocab_size=11,
            hidden_size=6,
            num_hidden_layers=2,
            num_heads=2,
            expand_k=2,
            intermediate_size=10,
        ),
    ),
    "kda": (
        KDAForCausalLM,
        KDAConfig(
            vocab_size=11,
            hidden_size=6,
            num_hidden_layers=2,
            head_dim=4,
            num_heads=2,
            expand_v=1.5,
            allow_neg_eigval=True,
            intermediate_size=10,
        ),
    ),
    "rwkv7": (
        RWKV7ForCausalLM,
        RWKV7Config(
            vocab_size=11,
            hidden_size=6,
            num_hidden_layers=3,
            head_dim=3,
            decay_low_rank_dim=2,
            gate_low_rank_dim=3,
            a_low_rank_dim=4,
            v_low_rank_dim=5,
            intermediate_size=10,
        ),
    ),
    "rwkv7_on_norms_of_torch": (
        RWKV7ForCausalLM,
        RWKV7Config(
            vocab_size=11,
            hidden_size=6,
            num_hidden_layers=2,
            head_dim=3,
            decay_low_rank_dim=2,
            gate_low_rank_dim=2,
            a_low_rank_dim=2,
            v_low_rank_dim=2,
            intermediate_size=4,
            fuse_norm=False,
            norm_first=False,
        ),
    ),
}


def rms_norm(self, x, residual=None, prenorm=False, residual_in_fp32=False):
    return layernorm.rms_norm_ref(x, self.weight, self.bias, residual, self.eps, prenorm)


def layer_norm(self, x, residual=None, prenorm=False, residual_in_fp32=False):
    return layernorm.layer_norm_ref(x, self.weight, self.bias, residual, self.eps, prenorm)


def group_norm(self, x):
    return layernorm.group_norm_ref(x, self.weight, self.bias, self.num_groups, eps=self.eps)


def gated_norm(self, x, g):
    gates = {"swish": silu, "sigmoid": torch.sigmoid}
    return layernorm.rms_norm_ref(x, self.weight, None, eps=self.eps) * gates[self.activation](g)


def convolution(self, x, **_):
    return short_convolution(x, self.weight[:, 0], self.bias, self.activation, self.backend)


def gated_delta_rule(q, k, v, g, beta, A_log, dt_bias, allow_neg_eigval, **_):
    """The queries and keys of one head are those of several heads of values."""
    q, k = (unit(x).repeat_interleave(v.shape[2] // x.shape[2], 2) for x in (q, k))
    g = -A_log.exp() * softplus(g + dt_bias)
    beta = (2 if allow_neg_eigval else 1) * beta.sigmoid()
    return naive_recurrent_gated_delta_rule(q, k, v, beta, g)


def delta_rule(q, k, v, beta, **_):
    leaves = (leaf.transpose(1, 2) for leaf in (unit(q), unit(k), v, beta))
    outputs, _ = delta_rule_recurrence(*leaves)
    return outputs.transpose(1, 2), None


def linear_attention(q, k, v, gk=None, g=None, **_):
    return naive_recurrent_gla(q, k, v, g if gk is None else gk)


def kimi_delta_attention(q, k, v, g, beta, A_log, dt_bias, allow_neg_eigval, **_):
    g = naive_kda_gate(g, A_log, dt_bias, output_dtype=torch.float32)
    beta = (2 if allow_neg_eigval else 1) * beta.sigmoid()
    return naive_recurrent_kda(unit(q), unit(k), v, g, beta)


def generalised_delta_rule(r, w, k, v, a, b, **_):
    scaled = r * r.shape[-1] ** 0.5  # what the reference divides by
    outputs, _ = dplr_recurrence(*(leaf.transpose(1, 2) for leaf in (scaled, k, v, a, b, w)))
    return outputs.transpose(1, 2), None


def replace_kernels():
    """References in place of the kernels, in the classes and modules that call them."""
    modules.RMSNorm.forward = rms_norm
    modules.LayerNorm.forward = layer_norm
    modules.GroupNorm.forward = group_norm
    modules.FusedRMSNormGated.forward = gated_norm
    modules.ShortConvolution.forward = convolution
    mlp.swiglu_linear = lambda gate, x, weight, bias: (silu(gate) * x) @ weight.T
    activations.ACT2FN["sqrelu"] = lambda x: torch.relu(x) ** 2
    recurrences = {
        gated_deltanet: ("gated_delta_rule", gated_delta_rule),
        delta_net: ("delta_rule", delta_rule),
        gla: ("gla", linear_attention),
        kda: ("kda", kimi_delta_attention),
    }
    for module, (name, recurrence) in recurrences.items():
        for mode in ("chunk", "fused_recurrent"):
            setattr(module, f"{mode}_{name}", recurrence)
    gated_deltanet.causal_conv1d = short_convolution
    shift = lambda x, *_, **__: (token_shift_ref(x), None)  # noqa: E731
    modeling_rwkv7.token_shift = shift
    vars(rwkv7).update(
        l2_norm=unit,
        token_shift=shift,
        fused_addcmul_rwkv7=torch_addcmul_rwkv7,
        fused_k_rwkv7=k_update_ref,
        gate_output_correction=gate_output_correction_ref,
        chunk_rwkv7=generalised_delta_rule,
        fused_mul_recurrent_rwkv7=lambda kk, a, **inputs: generalised_delta_rule(
            a=-kk, b=kk * a, **inputs
        ),
    )


def logits_of(model, tokens):
    """With what its references take for single precision in that of the model."""
    with mock.patch.object(torch, "float", model.dtype):
        return make_pretrained.logits_of(model, tokens)


def make_model(model_class, config):
    tied = {"lm_head.weight": "model.embeddings.weight"} if config.tie_word_embeddings else {}
    model_class._tied_weights_keys = tied  # in the form that this transformers reads
    model = model_class(config)
    is_tied = model.lm_head.weight is model.model.embeddings.weight
    assert is_tied == config.tie_word_embeddings
    return model


def main(names):
    torch.set_num_threads(1)
    assert fla.__version__ == "0.5.2"
    versions = {
        "flash-linear-attention": "0.5.2, commit bc3b101, on its naive references",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    replace_kernels()
    for name in names or MODELS:
        torch.manual_seed(make_pretrained.SEED)
        greedy = functools.partial(make_pretrained.greedy_by_logits, logits_of)
        model = make_model(*MODELS[name])
        make_pretrained.write(name, model, versions, logits=logits_of, generate=greedy)


if __name__ == "__main__":
    main(sys.argv[1:])
