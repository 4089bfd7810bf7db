"""Zoo: generative, optimal-transport and vision models as Keras classes that train, resume and serve.

Its names are the public classes and functions of schedules.py and of the files in models/ and networks/, Vocabulary,
and `load`, which loads model files. Each is imported when it is first used, so `import zoo` costs nothing and brings no
TensorFlow.

    from zoo import WGANGP, dcgan_critic, dcgan_generator
"""

import functools
import importlib

__version__ = "0.1.0"

_ROOMS = ("callbacks", "data", "losses", "metrics", "models", "networks", "ot", "runs", "serving", "training")


@functools.cache
def _homes():
    """{public name: module}, found by reading the files, since importing them would import TensorFlow."""
    import re
    from pathlib import Path

    folder, homes = Path(__file__).parent, {}
    for path in (folder / "schedules.py", *sorted(folder.glob("models/*.py")), *sorted(folder.glob("networks/*.py"))):
        module = ".".join(["zoo", *path.relative_to(folder).with_suffix("").parts])
        for name in re.findall(r"^(?:class|def) ([A-Za-z]\w*)", path.read_text(encoding="utf-8"), re.MULTILINE):
            homes[name] = module
    return homes | {"Vocabulary": "zoo.vocabulary", "load": "zoo.saving"}


def __getattr__(name):
    if name in _ROOMS:
        return importlib.import_module(f"zoo.{name}")
    if name == "__all__":
        return sorted(_homes())
    if name.startswith("_") or name not in _homes():
        import difflib

        offered = [*sorted(_homes()), *_ROOMS]
        close = difflib.get_close_matches(name, offered, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise AttributeError(f"module 'zoo' has no attribute {name!r}.{hint} It offers: {', '.join(offered)}.")
    value = getattr(importlib.import_module(_homes()[name]), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_homes(), *_ROOMS})
