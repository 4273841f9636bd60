"""Aligned patches of all stains: where they lie, which are kept, how they are cut, turned and split."""
