"""The intermediate representation of a node's service dataplane: what every target lowers and every pass
works on.
"""
