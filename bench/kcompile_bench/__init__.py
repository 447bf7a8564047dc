"""Measures kcompile: generated specs, kube-proxy's rule shapes as peers, connect latency, reports. The suites are in bench/suites."""
