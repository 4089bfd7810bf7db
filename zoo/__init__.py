"""Zoo: generative, optimal-transport and vision models as Keras classes that train, resume and serve.

Every public name is loaded when it is first used, so `import zoo` costs nothing and brings no TensorFlow.

    from zoo import WGANGP, dcgan_critic, dcgan_generator
"""

import importlib

__version__ = "0.1.0"

_HOMES = {
    "GAN": "zoo.models.gan",
    "WGAN": "zoo.models.wgan",
    "WGANGP": "zoo.models.wgan_gp",
    "mlp_generator": "zoo.networks.mlp",
    "mlp_critic": "zoo.networks.mlp",
    "dcgan_generator": "zoo.networks.dcgan",
    "dcgan_discriminator": "zoo.networks.dcgan",
    "dcgan_critic": "zoo.networks.dcgan",
    "Recompute": "zoo.networks.recompute",
}
_ROOMS = ("callbacks", "data", "losses", "metrics", "models", "networks", "ot", "runs", "serving", "training")

__all__ = sorted(_HOMES)


def __getattr__(name):
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    if name in _ROOMS:
        return importlib.import_module(f"zoo.{name}")
    raise AttributeError(f"module 'zoo' has no attribute {name!r}. It offers: {', '.join(__all__)}.")


def __dir__():
    return sorted({*globals(), *_HOMES, *_ROOMS})
