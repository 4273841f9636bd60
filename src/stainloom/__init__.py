"""Stainloom: five stains of one tissue block, aligned, painted once, and weighed by a network that says which stain decided."""

__version__ = "0.1.0"
