"""The admin server over real sockets, against fixed facts."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from envoy_data_plane.envoy.config.cluster.v3 import Cluster
from envoy_data_plane.envoy.config.core.v3 import DataSource
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import Secret, TlsCertificate

from tests.unit.admin.fake import FixedFacts
from xdscp.address import Address
from xdscp.admin.facts import ObjectState, StreamState, SyncStatus, TypeSync
from xdscp.admin.server import AdminServer
from xdscp.metrics import Metrics
from xdscp.resources.core import Key, Problem, Service, ServicePort
from xdscp.snapshot import Resource, ResourceType

WEB = Key("shop", "web-0")
PROBLEM = Problem("TrafficPolicy", Key("shop", "cart"), "Invalid", "spec.retry: -1", "cart.yaml", 2, "spec.retry")


@pytest.fixture
def facts() -> FixedFacts:
    """A control plane with an object, a problem, a pod with two streams and three resources."""
    service = Service(Key("shop", "cart"), ports=(ServicePort(80, "http"),), selector=(("app", "cart"),))
    secret = Secret(
        name="workload",
        tls_certificate=TlsCertificate(
            certificate_chain=DataSource(inline_bytes=b"chain"), private_key=DataSource(inline_bytes=b"topsecret")
        ),
    )
    return FixedFacts(
        states=[
            ObjectState("Service", service.key, service, "cart.yaml"),
            ObjectState("TrafficPolicy", PROBLEM.key, None),
        ],
        findings=[PROBLEM],
        open=[
            StreamState(WEB, "sidecar", "delta", {"cds": TypeSync(SyncStatus.NACK, "v1", "n2", "n1", "no such thing")}),
            StreamState(
                WEB,
                "sidecar",
                "delta",
                {"cds": TypeSync(SyncStatus.SYNCED, "v2", "n9", "n9"), "eds": TypeSync(SyncStatus.IDLE)},
            ),
        ],
        served={
            WEB: [
                (
                    Resource(ResourceType.CDS, "out/shop/cart/80", "1f", bytes(Cluster(name="out/shop/cart/80"))),
                    ("Service/shop/cart",),
                ),
                (Resource(ResourceType.LDS, "outbound", "2f", b"\x0a\x02\xff\xfe"), ()),
                (Resource(ResourceType.SDS, "workload", "3f", bytes(secret)), ()),
            ]
        },
    )


class Client:
    def __init__(self, session: aiohttp.ClientSession, bound: Address) -> None:
        self.session = session
        self.bound = bound

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        url = f"http://{self.bound if not self.bound.path else 'localhost'}{path}"
        async with self.session.get(url, headers=headers) as answer:
            return answer.status, await answer.text()

    async def json(self, path: str) -> object:
        status, text = await self.get(path)
        assert status == 200, text
        return json.loads(text)


@pytest.fixture
async def client(facts: FixedFacts) -> AsyncIterator[Client]:
    """A client of a server on a port that the kernel picked."""
    server = AdminServer(facts, Metrics().registry)
    bound = await server.start(Address("localhost", 0))
    async with aiohttp.ClientSession() as session:
        yield Client(session, bound)
    await server.stop()


async def test_health(client: Client, facts: FixedFacts) -> None:
    """health is 200 whatever the state; readiness is 503 with the reason until synced."""
    facts.reason = "waiting for the folder shop"

    assert await client.get("/healthz") == (200, "ok\n")
    assert await client.get("/readyz") == (503, "waiting for the folder shop\n")
    facts.reason = ""
    assert await client.get("/readyz") == (200, "ok\n")


async def test_metrics(client: Client) -> None:
    """metrics are in the Prometheus text format."""
    status, text = await client.get("/metrics")

    assert status == 200
    assert "# TYPE xdscp_pushes_total counter" in text


async def test_syncz(client: Client) -> None:
    """syncz maps node to type to state, the worst of a node's streams, and lists the problems."""
    assert await client.json("/syncz") == {
        "shop/web-0": {
            "cds": {
                "status": "NACK",
                "version": "v1",
                "nonce_sent": "n2",
                "nonce_acked": "n1",
                "last_error": "no such thing",
            },
            "eds": {"status": "IDLE", "version": "", "nonce_sent": "", "nonce_acked": "", "last_error": ""},
        },
        "problems": [
            {
                "kind": "TrafficPolicy",
                "namespace": "shop",
                "name": "cart",
                "reason": "Invalid",
                "message": "spec.retry: -1",
                "file": "cart.yaml",
                "document": 2,
                "field": "spec.retry",
            }
        ],
    }


async def test_objects(client: Client) -> None:
    """objects are listed with their origin, all or of one kind; another kind is 404 with the kinds held."""
    found = await client.json("/debug/objects?kind=Service")

    assert isinstance(found, list)
    assert [(each["kind"], each["namespace"], each["name"], each["file"]) for each in found] == [
        ("Service", "shop", "cart", "cart.yaml")
    ]
    assert found[0]["body"]["ports"][0]["number"] == 80
    assert found[0]["body"]["key"] == "shop/cart"
    assert len(await client.json("/debug/objects")) == 2  # type: ignore[arg-type]
    status, text = await client.get("/debug/objects?kind=Pod")
    assert (status, json.loads(text)["kinds"]) == (404, ["Service", "TrafficPolicy"])


async def test_resources(client: Client) -> None:
    """a resource is shown with name, version, sources and decoded body; one that cannot be decoded says so."""
    assert await client.json("/debug/resources?node=shop/web-0&type=cds") == [
        {
            "type": "cds",
            "name": "out/shop/cart/80",
            "version": "1f",
            "sources": ["Service/shop/cart"],
            "body": {"name": "out/shop/cart/80"},
        }
    ]
    found = await client.json("/debug/resources?node=shop/web-0&name=outbound")
    assert isinstance(found, list)
    assert found[0]["body"]["@undecoded"] == "CgL//g=="


async def test_secrets(client: Client) -> None:
    """no private key is shown."""
    _, text = await client.get("/debug/resources?node=shop/web-0&type=sds")

    body = json.loads(text)[0]["body"]
    assert body["tlsCertificate"]["privateKey"] == "[redacted]"
    assert body["tlsCertificate"]["certificateChain"] == {"inlineBytes": "Y2hhaW4="}
    assert "dG9wc2VjcmV0" not in text


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/debug/resources", 400, "the query parameter node=NAMESPACE/POD is required"),
        ("/debug/resources?node=web", 400, "the query parameter node=NAMESPACE/POD is required"),
        ("/debug/resources?node=a/b/c", 400, "the query parameter node=NAMESPACE/POD is required"),
        ("/debug/resources?node=shop/web-0&type=x", 400, "type 'x' is not one of cds, eds, lds, rds, vhds, sds"),
        ("/debug/resources?node=shop/x", 404, "no pod 'shop/x' is known"),
        (
            "/debug/resources?node=shop/web-0&name=x",
            404,
            "no resource 'x' is served to it; leave name out for the list",
        ),
        ("/debug", 404, "there is no such page"),
    ],
)
async def test_errors(path: str, status: int, error: str, client: Client) -> None:
    """an error is JSON that says what is allowed."""
    got, text = await client.get(path)

    assert (status, error) == (got, json.loads(text)["error"])


async def test_methods(client: Client) -> None:
    """nothing is written by HTTP."""
    async with client.session.post(f"http://{client.bound}/syncz") as answer:
        assert answer.status == 405
        assert (await answer.json())["error"] == "allowed: GET, HEAD"


@pytest.mark.parametrize("path", ["/syncz", "/debug/objects", "/debug/resources?node=shop/web-0", "/debug"])
async def test_rebinding(path: str, client: Client) -> None:
    """a page whose name was rebound to loopback reads no configuration; health is open."""
    status, text = await client.get(path, Host="evil.example:15014")

    assert (status, "loopback" in text) == (403, True)
    assert (await client.get("/healthz", Host="evil.example"))[0] == 200


async def test_strangers(facts: FixedFacts) -> None:
    """a peer that is not loopback reads health and metrics, and no configuration, whatever host it names."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("the machine has no address but loopback")
        own = probe.getsockname()[0]
    server = AdminServer(facts, Metrics().registry)
    bound = await server.start(Address("0.0.0.0", 0))
    async with aiohttp.ClientSession() as session:
        client = Client(session, Address(own, bound.port))

        assert (await client.get("/readyz"))[0] == 200
        assert (await client.get("/metrics"))[0] == 200
        assert (await client.get("/syncz", Host="localhost"))[0] == 403
        assert (await client.get("/debug/objects", Host="127.0.0.1"))[0] == 403
    await server.stop()


async def test_unix_socket(facts: FixedFacts, tmp_path: Path) -> None:
    """the server listens on a unix socket, over one that a killed process left, and removes it."""
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    server = AdminServer(facts, Metrics().registry)
    bound = await server.start(Address(path=str(path)))
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
        assert (await Client(session, bound).get("/syncz"))[0] == 200
    await server.stop()

    assert not path.exists()


@pytest.mark.parametrize(
    ("listen", "cause"),
    [
        (
            Address("192.0.2.9", 1),
            "Cannot assign requested address|could not bind on any address.*",
        ),  # words of 3.11 | 3.13
        (Address("name.invalid", 1), "Name or service not known|Temporary failure in name resolution"),
        (Address(path="/nope/admin.sock"), "No such file or directory"),
        (None, "Address already in use"),
    ],
)
async def test_not_bound(listen: Address | None, cause: str, client: Client, facts: FixedFacts) -> None:
    """an address that cannot be bound is an OSError of one sentence for the caller to tell."""
    server = AdminServer(facts, Metrics().registry)
    address = client.bound if listen is None else listen

    with pytest.raises(
        OSError, match=rf'^--admin-listen is "{address}": ({cause}); allowed: an address of this machine'
    ):
        await server.start(address)
