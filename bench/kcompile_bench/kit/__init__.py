"""``kcompile bench``: what each way to a pod costs in each mode, measured side by side; its report claims no
more than it knows.

scenario    the matrix: paths, modes, numbers of Services, measures; the profiles
cluster     what a place to run it has: two nodes, pods and an outside client; `places` finds one by its name:
            `netns_cluster` builds one from network namespaces, `lab_place` from a lab, `hosts` reaches real
            machines, `machines` starts another kernel
runner      rounds of blocks, forwards and backwards in turn; every finished round is on disk, so that an
            interrupted run can continue
measures    one block: connect, handshake, requests, throughput (drive.c, iperf3, wrk, sockperf); `control`:
            rules put in and changed
intervals   bootstrap intervals over block medians, the noise floor of an A/A run, and what may be claimed
findings    a result as answers; `page`, `text` and `svg` print them; `compare` sets two results side by side
"""
