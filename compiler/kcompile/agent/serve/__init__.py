"""What the agent answers over HTTP: its health, health checks of Services, metrics, and what is programmed.

checks.py     healthCheckNodePorts
health.py     whether the rules are up to date, and whether load balancers may use this node
metrics.py    Prometheus metrics
pages.py      pages by path, and how they are served
servers.py    the three servers and their sockets: health, metrics, status
status.py     what `kcompile status` shows, as objects
unix.py       the socket that `kcompile status` asks
"""

from .checks import HealthCheckPorts, check_addresses
from .servers import Addresses, Servers

__all__ = ["Addresses", "HealthCheckPorts", "Servers", "check_addresses"]
