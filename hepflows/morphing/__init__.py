"""Morphing one set of events into another: flows for flows (Golling et al., arXiv:2211.02487).

`hepflows.morphing.morph.fit_morphing` trains a `Morphing`; `hepflows.morphing.model` holds the networks.
"""
