"""A network that has learned a flip-flop of three bits stores them in eight stable fixed points."""

import argparse

import jax
import pytest

pytest.importorskip("matplotlib", reason="the study needs matplotlib")


@pytest.mark.slow
@pytest.mark.optimised
def test_learned_flip_flop_has_a_stable_point_for_each_pattern_of_bits_and_saddles_between():
    from benchmarks.studies import fixed_points as study

    options = argparse.Namespace(
        cell="GRU",
        hidden=24,
        time=32,
        iterations=500,
        batch=32,
        learning_rate=1e-2,
        starts=300,
        noise=0.3,
        seed=0,
    )
    with jax.numpy_dtype_promotion("standard"):  # as users run it
        result, _ = study.measure(options)
    assert result["right_signs"] > 0.99
    kinds = [row["kind"] for row in result["points"]]
    assert kinds.count("stable") == 8
    assert kinds.count("saddle") >= 4
    patterns = result["patterns"]
    assert all(row["is_right"] and row["distance"] < 1e-8 for row in patterns)
    assert len({row["point"] for row in patterns}) == 8
