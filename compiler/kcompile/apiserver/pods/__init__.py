"""The subresources of a Pod that reach into its containers: log, exec, attach, portforward.

answers.py  which of them is asked, of which container
logs.py     a container's log
streams.py  a process's streams over WebSocket
"""

from .answers import PodStreams

__all__ = ["PodStreams"]
