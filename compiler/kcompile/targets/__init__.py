"""The targets: each lowers the same IR to its own kind of Program, and writes, reads and explains it.

Pure.
"""
