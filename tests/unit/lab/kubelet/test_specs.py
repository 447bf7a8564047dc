"""What a container is given beside its manifest."""

import sys
from pathlib import Path

from kcompile.lab.kubelet.specs import uncovered


def test_what_a_volume_hides_of_kcompile_is_bound_again():
    top = str(Path("/", Path(sys.prefix).parts[1]))
    (bind, *_) = uncovered([{"target": "/elsewhere"}, {"target": top}])
    assert bind == {"source": sys.prefix, "target": sys.prefix, "readOnly": True}
    assert uncovered([{"target": "/elsewhere"}]) == []
