"""Kept so that `pip install -e .` works with old tools; everything is in pyproject.toml."""

from setuptools import setup

setup()
