"""What holds for a namespace, what is outside of the mesh, and which of several policies counts."""

from __future__ import annotations

import json
import socket
import ssl
import sys
from collections import Counter

import pytest
import pytest_asyncio

from examples.demo.processes import output
from tests.envoy import manifests
from tests.envoy.features.instance import Instance
from tests.envoy.features.stage import FIELDS
from tests.envoy.features.test_connections import unreachable, workload

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outside(stage):
    """A server outside of the mesh, at a name that is resolved: localhost."""
    stage.instances["outside"] = made = await Instance("outside", "127.0.0.1", port=0).start()
    return made


# -- egress


async def test_egress_allow(stage, outside):
    """A request to a host that is no Service arrives there."""
    await stage.apply("mesh-policy/egress-allow")
    assert (await stage.ask(f"localhost:{outside.port}", "/x")).instance == "outside"


async def test_egress_registered(stage, outside):
    """Only what an ExternalService names is reached."""
    await stage.apply("mesh-policy/egress-registered", {"192.0.2.10": stage.address(41)})
    assert (await stage.ask("payments.example")).instance == "audit"
    refused = await stage.ask(f"localhost:{outside.port}")
    assert (refused.status, refused.body) == (502, b"unknown host\n")
    assert not outside.seen


async def test_egress_deny(stage, outside):
    """Neither an ExternalService nor an unknown host is reached; Services are."""
    service = manifests.service("reviews", (80, 8080), selector={"app": "reviews"})
    await stage.apply("mesh-policy/egress-deny", {"192.0.2.10": stage.address(41)}, more=[service])
    assert (await stage.ask("payments.example")).status == 502
    assert (await stage.ask(f"localhost:{outside.port}")).status == 502
    assert (await stage.reviews()).status == 200


async def test_a_policy_of_the_mesh(stage, outside):
    """In xdscp-system it holds for all namespaces, and one of the namespace goes before it."""
    mesh = {"namespace: shop}": "namespace: xdscp-system}"}
    await stage.apply("mesh-policy/egress-deny", mesh)
    assert (await stage.ask(f"localhost:{outside.port}")).status == 502
    own = {
        "apiVersion": "xdscp.io/v1alpha1",
        "kind": "MeshPolicy",
        "metadata": {"name": "own", "namespace": "shop"},
        "spec": {"egress": "Allow"},
    }
    await stage.apply("mesh-policy/egress-deny", mesh, more=[own])
    assert (await stage.ask(f"localhost:{outside.port}")).instance == "outside"


# -- defaults


async def test_default_retry(stage):
    """A Service without a policy is asked once more where it failed."""
    await stage.apply("mesh-policy/defaults")
    stage.instances["reviews-v1-a"].failing(503)
    answers = [await stage.reviews() for _ in range(16)]
    assert {answer.status for answer in answers} == {200}
    assert stage.instances["reviews-v1-a"].seen


async def test_default_connect_timeout(stage):
    """A connection is given up after 300 ms, twice as there is a retry."""
    address = stage.address(81)
    async with unreachable(address):
        await stage.apply("mesh-policy/defaults", {"{app: reviews}": "{app: stuck}"}, more=[workload("stuck", address)])
        answer = await stage.reviews()
    assert answer.status == 503
    assert 0.58 <= answer.seconds < 1.3


async def test_a_traffic_policy_goes_before_the_defaults(stage):
    """Where the policy of the Service says that nothing is tried again, nothing is."""
    policy = manifests.policy("reviews", "reviews", routes=[{"name": "all", "retry": {"attempts": 0}}])
    await stage.apply("mesh-policy/defaults", more=[policy])
    for instance in stage.of("reviews"):
        instance.failing(503)
    assert (await stage.reviews()).status == 503
    assert sum(len(instance.seen) for instance in stage.of("reviews")) == 1


# -- external services


async def test_external_static(stage):
    """Each of its names is answered by its endpoints, by their weights."""
    replacing = {"192.0.2.10": stage.address(41), "192.0.2.11": stage.address(31)}
    await stage.apply("external-service/static", replacing)
    for host in ("payments.example", "pay.example", "payments.example:80"):
        assert (await stage.ask(host)).status == 200
    counted = Counter([(await stage.ask("payments.example")).instance for _ in range(60)])
    assert 36 <= counted["audit"] <= 44
    assert counted["audit"] + counted["ratings-a"] == 60


async def test_external_dns(stage):
    """The endpoint's name is looked up, and the application sees the host that the client wrote."""
    name = socket.gethostname()  # `localhost` is refused
    try:
        address = socket.gethostbyname(name)
    except OSError:
        pytest.skip(f"this machine's name {name} has no address")
    stage.instances["weather"] = weather = await Instance("weather", address, port=0).start()
    await stage.apply("external-service/dns", {"api.weather.example": name, "8080": weather.port})

    async def resolved():
        answer = await stage.ask("weather.example", "/today")
        return answer if answer.status == 200 else None

    answer = await stage.until(resolved, what="resolved")
    assert answer.instance == "weather"
    assert "host: weather.example" in answer.json["lines"]


async def test_external_tls(stage):
    """The proxy speaks TLS and names the server that the policy names; a certificate of no known authority is refused."""
    key, certificate = stage.folder / "key.pem", stage.folder / "certificate.pem"
    await output(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"),
        *("-subj", "/CN=api.bank.example", "-addext", "subjectAltName=DNS:api.bank.example"),
        *("-keyout", str(key), "-out", str(certificate)),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    asked = []
    context.sni_callback = lambda _, name, __: asked.append(name)
    server = await Instance("bank", stage.address(84), port=443).start(ssl=context)
    try:
        await stage.apply("external-service/tls", {"192.0.2.10": stage.address(84)})
        answer = await stage.ask("bank.example")
    finally:
        await server.stop()
    assert answer.status == 503
    assert await stage.envoy.stat("cluster.ext/shop/bank/80.ssl.fail_verify_error") >= 1
    assert set(asked) == {"api.bank.example"}
    assert not server.seen


async def test_external_addresses(stage):
    """With interception connections to the virtual address are the ExternalService's.

    Seen in the configuration of an intercepted proxy, for which a network namespace would be needed.
    """
    folder = stage.folder / "addresses"
    folder.mkdir()
    (folder / "example.yaml").write_text((FIELDS / "external-service/addresses.yaml").read_text())
    (folder / "pod.yaml").write_text(json.dumps(manifests.pod("client", "10.0.0.1", {"app": "client"})))
    argv = [sys.executable, "-m", "xdscp", "translate", str(folder), "--node", "shop/client", "--type", "lds"]
    listeners = {each["name"]: each["body"] for each in json.loads(await output(*argv))}
    (chain,) = listeners["out/5000"]["filterChains"]
    assert chain["filterChainMatch"]["prefixRanges"] == [{"addressPrefix": "192.0.2.77", "prefixLen": 32}]
    assert chain["filters"][0]["typedConfig"]["cluster"] == "ext/shop/mainframe/5000"


# -- workloads


async def test_workload_endpoint(stage):
    """A Workload is an endpoint of the Service that selects it, with three times the share of a Pod."""
    web = stage.pod("ratings-a")
    web["metadata"].update(name="reviews-web", labels={"app": "reviews"})
    web["spec"]["containers"] = [{"name": "app", "ports": [{"name": "web", "containerPort": 8080}]}]
    await stage.apply("workload/endpoint", {"192.0.2.10": stage.address(41)}, more=[web])
    counted = Counter([(await stage.reviews()).instance for _ in range(80)])
    assert 57 <= counted["audit"] <= 63
    assert counted["audit"] + counted["ratings-a"] == 80


# -- several policies


def aged(policy, year):
    policy["metadata"]["creationTimestamp"] = f"{year}-01-01T00:00:00Z"
    return policy


async def test_the_older_policy_counts(stage):
    """Of two with routes the older's count, the younger is told, and its other parts count."""
    service = manifests.service("reviews", (80, 8080), selector={"app": "reviews"})

    def answering(name, status, **more):
        return manifests.policy(name, "reviews", routes=[{"directResponse": {"status": status}}], **more)

    older = aged(answering("z-older", 421), 2025)
    younger = aged(answering("a-younger", 423, connection={"connectTimeout": "7s"}), 2026)
    await stage.serve("", service, older, younger)
    assert (await stage.reviews()).status == 421
    assert (await stage.cluster("out/shop/reviews/80"))["connect_timeout"] == "7s"
    (problem,) = await stage.control_plane.problems()
    assert (problem["name"], problem["reason"], problem["field"]) == ("a-younger", "Conflicted", "spec.routes")
    await stage.serve("", service, younger)
    assert (await stage.reviews()).status == 423
    assert await stage.control_plane.problems() == []


async def test_a_policy_of_the_port_counts(stage):
    """A policy that names the port goes before one of the whole Service, also when it is younger; no conflict."""
    service = manifests.service("reviews", (80, 8080, "http"), selector={"app": "reviews"})
    whole = aged(manifests.policy("whole", "reviews", routes=[{"directResponse": {"status": 421}}]), 2025)
    port = aged(manifests.policy("port", "reviews", routes=[{"directResponse": {"status": 423}}]), 2026)
    port["spec"]["targetRefs"][0]["sectionName"] = "http"
    await stage.serve("", service, whole, port)
    assert (await stage.reviews()).status == 423
    assert await stage.control_plane.problems() == []


async def test_a_backend_that_does_not_exist(stage):
    """It loses its share to the others, and is told; where there is no other the answer is 500."""
    missing = {"  - {name: v2, labels: {version: v2}}\n": ""}
    (problem,) = await stage.apply("routes/weights", missing, problems=1)
    assert problem["reason"] == "BackendNotFound"
    assert {(await stage.reviews()).version for _ in range(30)} == {"v1"}
    await stage.apply("routes/weights", {**missing, "    - {subset: v1, weight: 90}\n": ""}, problems=1)
    assert (await stage.reviews()).status == 500
