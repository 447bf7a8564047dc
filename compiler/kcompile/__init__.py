"""kcompile: Kubernetes Services compiled into rules on a Linux node."""

__version__ = "0.1.0"
