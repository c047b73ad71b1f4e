"""Densities on a learned manifold: M-flows (Brehmer and Cranmer, arXiv:2003.13913).

`hepflows.manifold.fitting.fit_manifold` trains a `hepflows.manifold.artefact.Manifold`; the networks are in
`hepflows.manifold.model`.
"""
