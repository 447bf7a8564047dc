"""Runs a module as root may run it: ``python -I isolated.py [--path FOLDER]...

MODULE ARGUMENT...`` (spawn.py makes such commands).

With -I Python looks neither into the current folder nor into $PYTHONPATH, so what is added here is all: the
folder that this package is in, before those of other packages, after Python's own.
"""

import os
import runpy
import sys


def main() -> None:
    """Run what the command line names as ``__main__``."""
    folders, words = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))], sys.argv[1:]  # noqa: PTH100, PTH120 (a quick start)
    while words[0] == "--path":
        folders.append(words[1])
        words = words[2:]
    first = next((at for at, path in enumerate(sys.path) if path.endswith("-packages")), len(sys.path))
    sys.path[first:first] = [folder for folder in folders if folder not in sys.path]
    sys.argv = words
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
