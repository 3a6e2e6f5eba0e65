"""Package metadata of kseg."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+?)"', (HERE / "kseg/__init__.py").read_text()).group(1)

TEST = ["pytest>=8", "pytest-xdist>=3.6", "scikit-learn>=1.7", "hypothesis>=6.100", "PyYAML>=6"]

setup(
    name="kseg",
    version=VERSION,
    description="Segmentation losses, their gradients and their robustness, for TensorFlow and Keras 3",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["kseg", "kseg.*"]),
    python_requires=">=3.11",
    install_requires=[
        "tensorflow>=2.19",
        "keras>=3.10",
        "h5py>=3.11",
        "nibabel>=5.2",
        "numpy>=1.26",
        "pydicom>=3.0",
        "scipy>=1.15",
        "matplotlib>=3.8",
        "rich>=13.7",
        "tyro>=1.0,<2",
    ],
    extras_require={
        "gpu": ["tensorflow[and-cuda]>=2.19"],
        "tensorboard": ["tensorboard>=2.19"],
        "test": TEST,
        "dev": [*TEST, "ruff>=0.6"],
    },
    entry_points={"console_scripts": ["kseg = kseg.cli:main"]},
)
