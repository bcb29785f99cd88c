"""Benchmarks: `make bench` measures on this machine, in one run, and writes a table of ratios and figures."""
