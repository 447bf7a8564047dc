"""Measures kcompile: generated specs, kube-proxy's rule shapes as peers, connect latency (bench/suites);
``kcompile bench`` is kit.
"""
