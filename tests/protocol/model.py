"""A model of Envoy's side of ADS, with what it was measured to do: warming, rejections that half apply, lying versions."""

from __future__ import annotations

import json
from collections import deque

from envoy.service.discovery.v3 import discovery_pb2

from tests.protocol.fixtures import CDS, EDS, LDS, RDS, URL, VHDS
from xdscp.ads import wire
from xdscp.ads.client import Client
from xdscp.ads.session import Close, Rejected, Send, Session
from xdscp.snapshot import Resource, Shard, Snapshot

TYPE = {url: type for type, url in URL.items()}


def written(type, name, content, refers=()):
    """A resource whose body the model can read; its version is its content."""
    body = json.dumps([name, content, list(refers)]).encode()
    return Resource(type, name, f"{content}/{','.join(refers)}", body, tuple(refers))


class World:
    """What should be: clusters and endpoints by name, tables with their hosts (name to content and cluster)."""

    def __init__(self):
        self.clusters, self.endpoints, self.tables = {}, {}, {}

    def resources(self, incremental):
        """All resources, in the shape that a protocol gets."""
        yield from (written(CDS, name, content) for name, content in self.clusters.items())
        yield from (written(EDS, name, content) for name, content in self.endpoints.items() if name in self.clusters)
        for table, hosts in self.tables.items():
            yield written(LDS, table, "listener")
            if incremental:
                yield written(RDS, table, "table")
                yield from (written(VHDS, f"{table}/{h}", content, (to,)) for h, (content, to) in hosts.items())
            else:
                text = ";".join(f"{h}={content}>{to}" for h, (content, to) in sorted(hosts.items()))
                yield written(RDS, table, text, sorted({to for _, to in hosts.values()}))

    def snapshot(self, incremental):
        """A snapshot with one shard for every resource name, sharing none."""
        tables = {}
        for one in self.resources(incremental):
            tables.setdefault(one.type, {})[one.name] = one
        return Snapshot(Shard({}), Shard(tables), Shard({}))


class Model:
    """An Envoy. Messages wait in `inbox` and `outbox` until a test delivers them."""

    def __init__(self, responses, incremental):
        self.responses, self.incremental = responses, incremental
        self.client = Client("shop", "pod", "sidecar", "explicit", incremental)
        self.state = {type: {} for type in (CDS, EDS, LDS, RDS, VHDS)}
        self.reported = {type: {} for type in self.state}
        self.warming, self.rejections, self.refused = set(), 0, set()
        self.careful, self.blind, self.spoiled = True, False, set()
        self.connect(None)

    def connect(self, snapshot):
        """Open a new stream, keeping what it has."""
        self.session = Session(self.client, self.responses)
        self.inbox, self.outbox = deque(), deque()
        self.in_flight = dict.fromkeys(self.state, 0)
        self.withheld = None
        self.nonces = dict.fromkeys(self.state, "")
        self.subscribed = {EDS: set(), RDS: set()}
        self.asked = set()
        if snapshot is not None:
            self.carry(self.session.publish(snapshot))
        # asked for endpoints without clusters, a server cannot know which removals Envoy ignores
        self.blind = self.blind or bool(self.warming)
        if not self.warming:
            self.ask(CDS)
        if self.state[CDS]:
            self.name(EDS, set(self.state[CDS]))
        if not self.warming or self.state[LDS]:
            self.ask(LDS)
        if self.state[LDS]:
            self.name(RDS, set(self.state[LDS]))
        if self.state[RDS] and self.incremental:
            self.ask(VHDS)
        # a SotW server cannot know what a reconnecting client has, so the first responses may break what they replace
        self.careful = self.incremental or not self.state[CDS]

    # -- requests

    def send(self, type, subscribe=(), unsubscribe=(), nonce="", error=None, known=None):
        if self.incremental:
            message = discovery_pb2.DeltaDiscoveryRequest(
                type_url=URL[type], resource_names_subscribe=subscribe, resource_names_unsubscribe=unsubscribe,
                response_nonce=nonce, initial_resource_versions=known or {},
            )  # fmt: skip
        else:
            message = discovery_pb2.DiscoveryRequest(
                type_url=URL[type], resource_names=sorted(self.subscribed.get(type, ())), response_nonce=nonce
            )
        if error is not None:
            message.error_detail.message = error
        self.asked.add(type)
        self.outbox.append(message.SerializeToString())

    def ask(self, type):
        if type not in self.asked:
            self.send(type, known=self.reported[type])

    def name(self, type, names):
        """Subscribe to exactly these names."""
        before = self.subscribed[type]
        if names == before:
            return
        self.subscribed[type] = set(names)
        first = type not in self.asked
        known = {name: version for name, version in self.reported[type].items() if name in names} if first else None
        self.send(type, sorted(names - before), sorted(before - names), self.nonce_of(type), known=known)

    def nonce_of(self, type):
        return "" if self.incremental else self.nonces[type]

    def answer(self, type, nonce, error=None):
        self.nonces[type] = nonce
        if error is not None:
            self.rejections += 1
        self.send(type, nonce=nonce, error=error)

    def deliver(self):
        """The server gets the oldest request."""
        raw = self.outbox.popleft()
        request = wire.request(raw, incremental=self.incremental)
        type = TYPE[request.url]
        before = self.session._order.subscriptions
        flight = next((one.flight for one in before if one is not None and one.rule.type == type), None)
        if flight is not None and request.nonce == flight.response.nonce:
            self.in_flight[type] -= 1
        self.carry(self.session.receive(request))

    def carry(self, commands):
        for command in commands:
            if isinstance(command, Send):
                self.in_flight[command.type] += 1
                assert self.in_flight[command.type] == 1, f"two unanswered responses of {command.type}"
                self.inbox.append(command.payload)
            elif isinstance(command, Close):
                raise AssertionError(command)  # noqa: TRY004 - a test fails
            elif isinstance(command, Rejected):
                assert command.versions or not command.message

    # -- responses

    def process(self):
        """Envoy takes the oldest response."""
        raw = self.inbox.popleft()
        if self.incremental:
            message = discovery_pb2.DeltaDiscoveryResponse.FromString(raw)
            resources = [self.read(one.resource.value, one.version) for one in message.resources]
            assert [one[0] for one in resources] == [one.name for one in message.resources]
            removed = list(message.removed_resources)
        else:
            message = discovery_pb2.DiscoveryResponse.FromString(raw)
            resources = [self.read(one.value, "") for one in message.resources]
            removed = []
        names = [one[0] for one in resources]
        assert len(set(names)) == len(names)
        assert not set(names) & set(removed)
        type = TYPE[message.type_url]
        assert len(set(removed)) == len(removed)
        if type in (CDS, LDS) and not self.incremental:
            removed = [name for name in self.state[type] if name not in names]
        bad = sorted(name for name, _, content, _ in resources if content == "bad")
        if type is CDS:
            self.refused |= set(bad)
        if type is EDS:
            self.spoiled |= set(bad)
        if bad and type not in (CDS, LDS):
            self.answer(type, message.nonce, f"Error: {', '.join(bad)}: not good")
            return
        if not bad:
            for name, version, _, _ in resources:
                self.reported[type][name] = version
            for name in removed:
                self.reported[type].pop(name, None)
        good = [one for one in resources if one[0] not in bad]
        getattr(self, f"take_{type.value}")(good, removed)
        if bad:
            self.answer(type, message.nonce, f"Error adding/updating {type}(s) {': x, '.join(bad)}: not good")
        elif type is CDS and self.warming:
            self.withheld = message.nonce
        else:
            self.answer(type, message.nonce)
        self.warmed()
        self.check()

    @staticmethod
    def read(body, version):
        if body[:1] == b"\n":
            return body[2:].decode(), version, None, ()
        name, content, refers = json.loads(body)
        return name, version, content, tuple(refers)

    def take_cds(self, good, removed):
        changed = False
        for name, _, content, _ in good:
            if self.state[CDS].get(name) != content:
                changed = changed or name in self.state[CDS]
                self.state[CDS][name] = content
                self.warming.add(name)
        for name in removed:
            self.state[CDS].pop(name, None)
            self.state[EDS].pop(name, None)
            self.reported[EDS].pop(name, None)
            self.warming.discard(name)
        names = set(self.state[CDS])
        if names != self.subscribed[EDS]:
            self.name(EDS, names)
        elif changed and not self.incremental:
            self.send(EDS, nonce=self.nonces[EDS])  # looks like an acknowledgement

    def take_eds(self, good, removed):
        for name, _, content, _ in good:
            if name in self.state[CDS]:
                self.state[EDS][name] = content
                self.warming.discard(name)
        for name in removed:
            self.warming.discard(name)  # live endpoints stay

    def take_lds(self, good, removed):
        for name, _, content, _ in good:
            self.state[LDS][name] = content
        for name in removed:
            self.state[LDS].pop(name, None)
            for held in (self.state, self.reported):
                held[RDS].pop(name, None)
            for host in [host for host in self.state[VHDS] if host.startswith(f"{name}/")]:
                del self.state[VHDS][host]
        self.name(RDS, set(self.state[LDS]))

    def take_rds(self, good, removed):
        for name, _, content, refers in good:
            if name in self.state[LDS]:
                self.state[RDS][name] = content, refers
                if self.incremental:
                    self.ask(VHDS)

    def take_vhds(self, good, removed):
        for name, _, content, refers in good:
            if name.rpartition("/")[0] in self.state[RDS]:
                self.state[VHDS][name] = content, refers
        for name in removed:
            self.state[VHDS].pop(name, None)

    def warmed(self):
        if not self.warming:
            if self.withheld is not None:
                self.answer(CDS, self.withheld)
                self.withheld = None
            self.ask(CDS)
            self.ask(LDS)

    def check(self):
        """No route leads to a cluster that is not there and warm."""
        if not self.careful:
            return
        for type in (RDS, VHDS):
            for name, (_, refers) in self.state[type].items():
                for cluster in refers:
                    if cluster in self.refused:
                        continue  # sent, and then rejected: what the client had no version of did not wait
                    assert cluster in self.state[CDS], f"{type} {name} to absent {cluster}"

    def quiet(self):
        """Deliver everything; no cluster is left to warm until Envoy's time limit.

        But one: who asks for endpoints and not for clusters may be a client that wants no clusters, so an Envoy that
        reconnects while a cluster warms, and rejects its endpoints, is not sent any others.
        """
        for _ in range(400):
            if self.outbox:
                self.deliver()
            elif self.inbox:
                self.process()
            else:
                break
        else:
            raise AssertionError("the exchange does not end")
        assert not (self.warming - self.spoiled if self.blind else self.warming)
        self.careful = True

    def hosts(self):
        """Host to (content, cluster), of both shapes."""
        if self.incremental:
            return {name: (content, refers[0]) for name, (content, refers) in self.state[VHDS].items()}
        found = {}
        for table, (text, _) in self.state[RDS].items():
            for one in filter(None, text.split(";")):
                host, _, rest = one.partition("=")
                content, _, to = rest.partition(">")
                found[f"{table}/{host}"] = content, to
        return found
