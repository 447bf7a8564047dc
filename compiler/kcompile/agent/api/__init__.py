"""An API server as the agent's source: its lists and watches, over connections that a kubeconfig describes.

kubeconfig.py    kubeconfig files merged as kubectl does, and the context chosen: what a Login holds
credentials.py   a token or certificate from an exec plugin, until it expires
tls.py           the TLS context of a Login
connection.py    lightkube's HTTP client for a Login, made again when files or credentials change
failures.py      what can go wrong with a request, told apart by what to do about it
backoff.py       how long to wait: pauses between attempts, and bounds on silence
resources.py     the kinds: where they are, and which of their objects a proxy asks for
decode.py        list pages and watch events to the objects of spec/objects.py
lists.py         one kind listed, page by page
watches.py       one stream of events, from chunks to lines to objects
reflector.py     one kind followed for good: listed, watched, begun again after each kind of failure
server.py        ApiSource: all kinds together
"""
