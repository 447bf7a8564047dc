"""The input: Kubernetes manifests and settings, read, checked, completed, and turned into the IR's service
ports.
"""
