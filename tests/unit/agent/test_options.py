"""What an agent is asked for."""

from kcompile.agent.options import Options
from kcompile.agent.serve import Addresses
from kcompile.engine.request import Request
from kcompile.kernel.facts import hostname
from kcompile.spec.config import Config


def options(config=None, request=None, **given):
    return Options(request=request or Request(), config=config or Config(), **given)


def test_the_name_of_the_own_node():
    named = Config(hostname="node-c")
    assert options(named, Request(node=" Node-A ")).own_name() == "node-a"
    assert options(named, Request(files=("specs",))).own_name() == "node-c"
    assert options(request=Request(files=("specs",))).own_name() is None
    assert options().own_name() == hostname()  # an API server has many Nodes


def test_where_the_servers_listen():
    configured = Config(healthz_bind_address="127.0.0.1:1", metrics_bind_address="127.0.0.1:2")
    assert options().addresses() == Addresses()
    assert options(configured).addresses() == ("127.0.0.1:1", "127.0.0.1:2")
    assert options(configured, healthz_bind_address="", metrics_bind_address="[::1]:3").addresses() == (
        "",
        "[::1]:3",
    )
