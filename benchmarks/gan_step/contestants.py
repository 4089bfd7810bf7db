"""The contestants by name."""

# What each needs beside Zoo itself.
PACKAGES = {
    "zoo": (),
    "zoo-jit": (),
    "keras": (),
    "torch": ("torch",),
    "torch-parts": ("torch",),
    "torch-whole": ("torch",),
}


def make(name, threads):
    """The contestant called `name`; imports its framework."""
    if name.startswith("torch"):
        from benchmarks.gan_step.pytorch import Torch

        return Torch(threads, compiled=name.partition("-")[2] or None)
    if name == "keras":
        from benchmarks.gan_step.plain_keras import PlainKeras

        return PlainKeras(threads)
    from benchmarks.gan_step.ours import Zoo

    return Zoo(threads, jit_compile=name == "zoo-jit")


def environment(threads):
    """Variables that a contestant's process begins with."""
    return {
        "TF_CPP_MIN_LOG_LEVEL": "2",
        # PyTorch's OpenMP threads spin while they wait: best on an idle machine, several times slower on a busy one.
        "OMP_NUM_THREADS": str(threads),
        # Compile times of a fresh machine, not of PyTorch's cache on disk.
        "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",
    }
