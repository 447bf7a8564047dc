"""A source of objects for the agent: manifests in files and folders.

source.py      DirectorySource: waits for a change, and gives the sink what it means
inotify.py     the kernel's own notices of changes
watches.py     which folders decide what a path means; which files are still being written
look.py        reads what has changed, and compares
manifests.py   many files as one cluster, parsed file by file
"""

from .source import DirectorySource

__all__ = ["DirectorySource"]
