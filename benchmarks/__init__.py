"""Benchmarks on a CPU or a GPU. They compare systems within one run; the test suite does not run them."""
