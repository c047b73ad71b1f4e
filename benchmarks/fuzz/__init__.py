"""Mutated files of every format that hepflows reads, given to its readers in a confined process."""
