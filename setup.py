"""Packaging of Zoo. Bounds are what was tested; constraints.txt pins the tested set."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

setup(
    name="zoo-models",
    version=re.search(r'__version__ = "(.+)"', (HERE / "zoo" / "__init__.py").read_text()).group(1),
    description="Generative, optimal-transport and vision models as Keras classes that train, resume and serve",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["zoo", "zoo.*", "recipes"]),
    entry_points={"console_scripts": ["zoo = zoo.cli:main"]},
    package_data={"zoo.serving.server": ["page/*"]},
    python_requires=">=3.11,<3.14",
    install_requires=[
        "tensorflow>=2.21,<2.22",
        "tensorflow-probability>=0.25,<0.26",
        # What TensorFlow Probability needs and does not ask for: Keras 2, and distutils, which Python 3.12 dropped.
        "tf_keras>=2.21,<2.22",
        "setuptools>=65,<85",
        "keras>=3.15,<3.16",
        "keras-cv>=0.9,<0.10",
        "numpy>=2.1,<3",
        "scipy>=1.14,<2",
        "scikit-learn>=1.6,<2",
        "pillow>=11,<14",
        "pycocotools>=2.0.11,<2.1",
        "google-crc32c>=1.6,<2",
        "matplotlib>=3.9,<4",
        "tensorboard>=2.19,<3",
        "tensorflow-serving-api>=2.19,<3",
        "grpcio>=1.70,<2",
        "aiohttp>=3.11,<4",
        "uvloop>=0.21,<1",
        "orjson>=3.10,<4",
        "prometheus-client>=0.21,<1",
        "tyro>=1.0,<2",
        "tokenizers>=0.21,<0.24",
        "num2words>=0.5.14,<0.6",
        "sacrebleu>=2.5,<3",
    ],
    extras_require={
        "test": [
            "pytest>=8,<10",
            "pytest-xdist>=3.6,<4",
            "playwright>=1.50,<2",
            "ruff>=0.14,<0.18",
            "POT>=0.9.5,<0.10",
            "jax>=0.10,<0.11",
            "array-record>=0.8.3,<0.9",
        ],
        "ot": ["POT>=0.9.5,<0.10"],
        "records": ["array-record>=0.8.3,<0.9"],
        "datasets": ["tensorflow-datasets>=4.9,<5"],
        "benchmark": [
            "torch>=2.6,<3",
            "POT>=0.9.5,<0.10",
            "geomloss>=0.3.1,<0.4",
            "jax>=0.10,<0.11",
            "ott-jax>=0.6,<0.7",
        ],
    },
)
