"""A small Kubernetes API server over a store in memory: for tests of the agent, and for the lab.

serving.py      a server from its socket to its end
rest.py         a request: who asks, and who answers
certificates.py  an authority of its own, and a certificate by it
tokens.py       the tokens by which it knows who asks
bodies.py       what a request brings, and what an answer looks like over HTTP
protobuf.py     bodies in protobuf
negotiate.py    what a client can read
strictness.py   what is done about unknown fields
paths.py        what a path means
options.py      the options of a list or watch
verbs.py        what each verb does
parts.py        scale, binding, eviction, token, finalize
pods/           logs, exec and attach
discovery.py    which kinds and verbs there are
openapi.py      the schemas of a group
tables/         what kubectl prints
listing.py      lists: versions and pages
watch.py        watches
store.py        the objects, and what clients may do to them
deletion.py     what a deletion makes of an object
patch.py        the three forms of a patch
collection.py   the objects of one kind, and their newest changes
records.py      an object at one version, and a change
admission.py    defaults and checks, by the rules of spec
poddefaults.py  what a Pod's spec is filled up with
workloads.py    defaults and checks of what makes Pods
schema.py       the fields of the kinds, as published
schematypes.py  the same as types, for speed
allocation.py   what Services are allocated
metadata.py     the metadata that the server sets
selectors.py    label and field selectors
resources.py    the kinds that are served
status.py       refusals
streams.py      what the server needs of the kubelets

What it doesn't know it refuses, with a Status: it never makes an answer up. It has no faults of its own; a
proxy of the tests puts them between it and a client.
"""

from .certificates import make_certificates, server_context
from .serving import Serving, serve
from .status import StatusError
from .store import Store
from .streams import Containers, Running
from .watch import Pace

__all__ = [
    "Containers",
    "Pace",
    "Running",
    "Serving",
    "StatusError",
    "Store",
    "make_certificates",
    "serve",
    "server_context",
]
