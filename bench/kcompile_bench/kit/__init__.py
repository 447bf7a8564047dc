"""``kcompile bench``: what each way to a pod costs in each mode, measured side by side; its report claims no more than it knows.

scenario    the matrix: paths, modes, numbers of Services, measures; the profiles
cluster     a place to run it: two nodes, pods and an outside client; `netns_cluster` builds one from network namespaces
runner      rounds of blocks, there and back in turn, every finished round on disk: an interrupted run goes on where it was
measures    one block: connect, handshake, requests, throughput (drive.c, iperf3, wrk, sockperf); `control`: rules put in and changed
intervals   bootstrap intervals over block medians, the noise floor of an A/A run, and what may be claimed
findings    a result as answers; `page`, `text` and `svg` print them; `compare` sets two results side by side
"""
