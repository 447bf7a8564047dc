"""A small Kubernetes API server over a store in memory: for tests of the agent, and for the lab."""
