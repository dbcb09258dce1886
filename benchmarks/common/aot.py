"""Programs compiled for an accelerator that is not there.

A GPU needs XLA's CUDA plugin and the compiler ptxas, a TPU the compiler in libtpu; neither needs a
driver or a device:

    pip install '.[aot]'
"""

import importlib.util
import os
from collections.abc import Callable
from typing import Any

import jax
from jax.experimental import topologies

# The H200 as XLA describes a GPU: compute capability 9.0, 132 multiprocessors, 141 GB.
H200 = """
gpu_device_info {
  cuda_compute_capability { major: 9 minor: 0 }
  core_count: 132
  fpus_per_core: 128
  clock_rate_ghz: 1.98
  threads_per_warp: 32
  threads_per_block_limit: 1024
  threads_per_core_limit: 2048
  registers_per_block_limit: 65536
  registers_per_core_limit: 65536
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  device_memory_size: 150754820096
  memory_bandwidth: 4800000000000
  l2_cache_size: 62914560
}
platform_name: "CUDA"
device_description_str: "NVIDIA H200"
runtime_version { major: 13 minor: 0 patch: 0 }
dnn_version_info { major: 9 minor: 20 }
"""
# What libtpu would ask a cloud's metadata server.
NO_CLOUD = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
}
MODULES = {"h200": ("jax_plugins.xla_cuda13", "nvidia.cu13"), "v5e": ("libtpu",)}


def missing_compiler(target: str) -> str | None:
    """Why programs cannot be compiled for "h200" or "v5e" here; None where they can."""
    for module in MODULES[target]:
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            return f"{module} is not installed: pip install '.[aot]'"
    return None


def absent_device(target: str) -> Any:
    """A device to compile for: "h200" is one NVIDIA H200, "v5e" one chip of a TPU v5e."""
    if target == "h200":
        topology = topologies.get_topology_desc(
            platform="cuda", topology="1x1x1", target_config=H200
        )
    else:
        for name, value in NO_CLOUD.items():
            os.environ.setdefault(name, value)
        topology = topologies.get_topology_desc("v5e:2x2", "tpu")
    return topology.devices[0]


def compile_for(device: Any, function: Callable[..., Any], *args: Any) -> Any:
    """The compiled program of `function(*args)`, for arrays on a device that is not there."""
    sharding = jax.sharding.SingleDeviceSharding(device)

    def spec(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.jit(function).lower(*jax.tree.map(spec, args)).compile()
