"""The solvers that `benchmarks.ot` compares, by name."""

import os

# What each needs beside Zoo itself.
PACKAGES = {
    "zoo": (),
    "ott": ("jax", "ott"),
    "geomloss": ("torch", "geomloss"),
    "pot-torch": ("torch", "ot"),
    "pot-detached": ("torch", "ot"),
    "pot-numpy": ("ot",),
    "pot-kernel": ("ot",),
}


def make(name, threads):
    """The contestant called `name`; imports its framework."""
    if hasattr(os, "sched_setaffinity"):
        # As many CPUs as threads, for libraries that count CPUs where they should read their options.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    if name == "zoo":
        from benchmarks.ot.contestants.ours import Zoo

        return Zoo(threads)
    if name == "ott":
        from benchmarks.ot.contestants.ott_jax import Ott

        return Ott()
    if name in ("pot-numpy", "pot-kernel"):
        from benchmarks.ot.contestants.pot_numpy import Pot

        return Pot("sinkhorn" if name == "pot-kernel" else "sinkhorn_log")
    if name == "geomloss":
        from benchmarks.ot.contestants.geomloss_torch import GeomLoss

        return GeomLoss(threads)
    from benchmarks.ot.contestants.pot_torch import PotTorch

    return PotTorch(threads, detached=name == "pot-detached")


def environment(threads):
    """Variables that a contestant's process begins with."""
    # NPROC is what JAX counts its threads by.
    counts = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
    return {
        **dict.fromkeys(counts, str(threads)),
        **{"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"},
        **{"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"},
        # POT imports every framework it finds unless told not to.
        **{f"POT_BACKEND_DISABLE_{name}": "1" for name in ("JAX", "CUPY", "TENSORFLOW")},
    }
