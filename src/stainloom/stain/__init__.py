"""Stain normalization: dyes separated once a slide, brought to the look of a reference; the same for view, export, prediction."""
