"""Whole races in a simulated world, each from a seed; README.md tells how."""
