"""Tables: what kubectl prints of objects, as a real server's printers (pkg/printers/internalversion) have it.

table.py      a Table of a list or an object, and the tables of a watch
columns.py    the columns of each kind, and who fills them
core.py       the cells of Namespaces, Nodes, Services, Events, ...
workloads.py  the cells of Deployments, Jobs, ...
pods.py       the cells of Pods
text.py       ages, selectors and lists in a cell
"""

from .table import TableLines, table_body

__all__ = ["TableLines", "table_body"]
