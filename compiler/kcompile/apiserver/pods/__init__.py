"""The subresources of a Pod that reach into its containers: log, exec, attach, portforward.

answers.py  which of them is asked, of which container
logs.py     a container's log
streams.py  a process's streams over WebSocket
forward.py  connections to a pod over WebSocket
spdy.py     the frames that are inside
"""

from .answers import PodStreams

__all__ = ["PodStreams"]
