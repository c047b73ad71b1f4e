"""Measuring speed and memory honestly: timing, the machine's description, start-up, and a saved generator's figures.

The comparisons with other libraries live in the repository's ``benchmarks/``, which uses these modules.
"""
