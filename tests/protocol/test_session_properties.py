"""Random worlds against model Envoys that lag, reject and reconnect."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.protocol.model import CDS, EDS, Model, World
from xdscp.ads.responses import Responses
from xdscp.ads.session import Send
from xdscp.ads.wire import Request

CLUSTERS = st.sampled_from(["a", "b", "c"])
TABLES = st.sampled_from(["t", "u"])
HOSTS = st.sampled_from(["x", "y", "z"])
CONTENT = st.sampled_from(["1", "2", "3"])
WHICH = st.integers(0, 1)


class Discovery(RuleBasedStateMachine):
    """A delta and a SotW client of one world."""

    @initialize(cluster=CLUSTERS)
    def start(self, cluster):
        self.responses = Responses()
        self.world = World()
        self.world.clusters[cluster] = self.world.endpoints[cluster] = "1"
        self.world.tables["t"] = {"x": ("1", cluster)}
        self.models = [Model(self.responses, True), Model(self.responses, False)]
        self.dirty = True
        self.publish()

    @rule(name=CLUSTERS, content=CONTENT, endpoints=st.booleans())
    def add_cluster(self, name, content, endpoints):
        self.world.clusters[name] = content
        self.world.endpoints[name] = content if endpoints else "none"

    @rule(name=CLUSTERS)
    def remove_cluster(self, name):
        for hosts in self.world.tables.values():
            for host in [host for host, (_, to) in hosts.items() if to == name]:
                del hosts[host]
        self.world.clusters.pop(name, None)
        self.world.endpoints.pop(name, None)

    @rule(name=CLUSTERS, content=CONTENT)
    def change_endpoints(self, name, content):
        self.world.endpoints[name] = content

    @rule(name=CLUSTERS)
    def remove_endpoints(self, name):
        """A cluster's assignment becomes empty: every cluster has one (`tests/golden`); that of no cluster goes."""
        if name in self.world.clusters:
            self.world.endpoints[name] = "none"
        else:
            self.world.endpoints.pop(name, None)

    @rule(table=TABLES, host=HOSTS, content=CONTENT, data=st.data())
    def route(self, table, host, content, data):
        if self.world.clusters:
            to = data.draw(st.sampled_from(sorted(self.world.clusters)))
            self.world.tables.setdefault(table, {})[host] = content, to

    @rule(table=TABLES, host=HOSTS)
    def remove_route(self, table, host):
        self.world.tables.get(table, {}).pop(host, None)

    @rule(table=TABLES)
    def remove_table(self, table):
        self.world.tables.pop(table, None)

    @rule(name=CLUSTERS)
    def spoil_endpoints(self, name):
        self.world.endpoints[name] = "bad"

    @rule(name=CLUSTERS)
    def spoil_cluster(self, name):
        if self.world.clusters.get(name, "bad") != "bad":
            self.world.clusters[name] = "bad"

    @rule()
    def publish(self):
        for model in self.models:
            model.carry(model.session.publish(self.world.snapshot(model.incremental)))

    @rule(which=WHICH)
    def deliver(self, which):
        if self.models[which].outbox:
            self.models[which].deliver()

    @rule(which=WHICH)
    def process(self, which):
        if self.models[which].inbox:
            self.models[which].process()

    @rule(which=WHICH)
    def stale(self, which):
        """An old nonce changes nothing, with or without an error."""
        model = self.models[which]
        model.quiet()
        for subscription in model.session.subscriptions:
            names = () if model.incremental else tuple(subscription.names)
            for error in (None, "late"):
                request = Request(subscription.rule.url, names, (), "ffff", error)
                assert not [one for one in model.session.receive(request) if isinstance(one, Send)]

    @rule(which=WHICH)
    def reconnect(self, which):
        self.models[which].connect(self.world.snapshot(self.models[which].incremental))

    @precondition(lambda self: hasattr(self, "models"))
    @rule()
    def quiet(self):
        """When all is delivered, clients have what the world has, and the same; then nothing more is sent."""
        self.publish()
        spoiled = {name for name, content in self.world.clusters.items() if content == "bad"}
        for model in self.models:
            before = model.rejections
            model.quiet()
            assert model.rejections - before < 20
            clusters = {n: c for n, c in model.state[CDS].items() if n not in spoiled}
            wanted = {n: c for n, c in self.world.clusters.items() if n not in spoiled}
            if spoiled:  # a route to a spoiled cluster may keep its last good version, and the cluster of that
                clusters = {name: content for name, content in clusters.items() if name in wanted}
            assert clusters == wanted
            for name in clusters:
                wanted = self.world.endpoints.get(name)
                if wanted != "bad" and (wanted is not None or not model.blind):
                    assert model.state[EDS].get(name) == wanted, name
            if not spoiled:
                assert model.session.settled
            hosts = {
                f"{table}/{host}": value for table, hosts in self.world.tables.items() for host, value in hosts.items()
            }
            if not spoiled:
                assert model.hosts() == hosts
            elif model.incremental:
                expected = {host: value for host, value in hosts.items() if value[1] not in spoiled}
                got = {host: value for host, value in model.hosts().items() if host in expected}
                assert got == expected


TestDiscovery = Discovery.TestCase
TestDiscovery.settings = settings(
    max_examples=int(os.environ.get("XDSCP_EXAMPLES", "120")),
    stateful_step_count=40,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
