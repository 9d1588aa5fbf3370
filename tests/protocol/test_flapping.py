"""A route that moves to a cluster, back, and there again, faster than the client acknowledges."""

from __future__ import annotations

import pytest

from tests.protocol.fixtures import CDS, EDS, LDS, RDS, URL, VHDS, resource, snapshot
from xdscp.ads.client import Client
from xdscp.ads.responses import Responses
from xdscp.ads.session import Send, Session
from xdscp.ads.wire import Request


@pytest.mark.parametrize("incremental", [True, False], ids=["delta", "sotw"])
def test_a_route_waits_for_the_endpoints_of_a_cluster_that_warmed_without_any(incremental):
    """The cluster is asked for while it does not exist, so it warms empty; the route waits until its endpoints are sent."""
    routes = VHDS if incremental else RDS
    name = "t/h" if incremental else "t"

    def target(cluster, content="1"):
        return snapshot(
            resource(CDS, cluster),
            resource(EDS, cluster, content),
            resource(LDS, "l"),
            resource(routes, name, cluster, [cluster]),
        )

    session = Session(Client("shop", "pod", "sidecar", "explicit", incremental), Responses())
    last = {}

    def sent(commands):
        pushed = [one for one in commands if isinstance(one, Send)]
        last.update((one.type, one.response) for one in pushed)
        return [(one.type, [each.name for each in one.response.resources]) for one in pushed]

    def ask(type, *names):
        return sent(session.receive(Request(URL[type], names)))

    def ack(type, *names):
        return sent(session.receive(Request(URL[type], () if incremental else names, nonce=last[type].nonce)))

    table = () if incremental else (name,)
    session.publish(target("old"))
    ask(CDS)
    ask(EDS, "old")
    ack(CDS)
    ack(EDS, "old")
    ask(LDS)
    ack(LDS)
    ask(routes, *table)
    ack(routes, *table)
    sent(session.publish(target("new")))
    session.publish(target("old"))
    ask(EDS, "new", *(() if incremental else ("old",)))
    session.publish(target("new", "2"))
    assert ack(CDS) == []
    assert ack(EDS, "new", "old") == [(EDS, ["new"]), (routes, [name])]
