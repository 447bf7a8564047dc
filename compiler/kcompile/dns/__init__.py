"""Kubernetes' DNS records from the same objects as the rules.

records.py       what records an object makes
reverse.py       reverse names and zones
collect.py       objects of a source as records, object by object
source.py        where objects come from: manifests, or an API server
zones.py         looks names up
render.py        records as text
packing.py       records as bytes
wire.py          what a question says, as bytes
answers.py       questions to answers, as bytes
serve.py         the name server
datagrams.py     many datagrams in one system call
connections.py   its TCP connections
forward.py       questions that other servers answer
feed.py          keeps the files of another name server current
check.py         a running server's answers beside the objects
reader.py        the process that follows the source
follow.py        takes in what that process tells
status.py        health and metrics over HTTP
"""
