"""The bootstrap of a proxy, as JSON values: who it is, where the control plane is, and what it serves by itself.

Place in the flow: pure; `xdscp bootstrap` prints it, the injector will mount it. Everything else comes by xDS. All
bytes follow from the arguments, so a pod's bootstrap is the same wherever it is made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from xdscp.address import Address
from xdscp.injector.stats import STATS_CONFIG
from xdscp.resources.core import Key

Role = Literal["sidecar", "gateway", "grpc"]
Mode = Literal["interception", "explicit"]
Json = dict[str, Any]

REGEX_PROGRAM = 1000
"""The RE2 program size that our validation accepts; Envoy's own limit of 100 would refuse what passed it."""
DOWNSTREAM_CONNECTIONS = 50_000
"""Open downstream connections of a proxy before it refuses more: below where file descriptors or memory end."""

GRPC_SERVER_LISTENER = "grpc/server?xds.resource.listening_address=%s"
"""The listener that a gRPC server asks for, with its address in the place of `%s`."""

_TYPE = "type.googleapis.com/"
_WINDOW = 1 << 20


@dataclass(frozen=True, slots=True)
class Proxy:
    """Who a proxy is. `pod` gives the node id; role and mode decide the dialect that it is served."""

    pod: Key
    role: Role = "sidecar"
    mode: Mode = "interception"

    @property
    def node(self) -> Json:
        """The xDS node of the contract: id, and the only metadata that decides anything."""
        return {
            "id": f"{self.pod.namespace}/{self.pod.name}",
            "cluster": self.pod.namespace,
            "metadata": {"xdscp": {"role": self.role, "mode": self.mode}},
        }


@dataclass(frozen=True, slots=True)
class Ports:
    """What a proxy serves by itself, on TCP ports of the pod; None leaves it out.

    `admin` is Envoy's own interface on 127.0.0.1, 0 lets the kernel pick: then nothing in the proxy can name it, so
    `readiness` and `prometheus`, which are answered from it, must be None. `address` is where those two listen.
    """

    admin: int = 15000
    readiness: int | None = 15021
    prometheus: int | None = 15090
    address: str = field(default="0.0.0.0")  # noqa: S104 -- the kubelet and Prometheus come from outside of the pod

    def __post_init__(self) -> None:
        if self.admin == 0 and (self.readiness is not None or self.prometheus is not None):
            raise ValueError("readiness and prometheus are answered from the admin port: they need one that is not 0")


def envoy_bootstrap(proxy: Proxy, xds: Address, ports: Ports, variant: Literal["delta", "sotw"] = "delta") -> Json:
    """Envoy's bootstrap (envoy.config.bootstrap.v3.Bootstrap in protobuf's JSON).

    `xds` is the control plane's plaintext address; a `variant` other than delta is for tests and older Envoys.
    """
    listeners = []
    if ports.readiness is not None:
        listeners.append(_readiness(Address(ports.address, ports.readiness)))
    if ports.prometheus is not None:
        listeners.append(_prometheus(Address(ports.address, ports.prometheus)))
    clusters = [_xds_cluster(xds)]
    if listeners:
        clusters.append(_admin_cluster("admin", ports.admin))
    if ports.readiness is not None:
        clusters += [_live_cluster(ports.admin), _configured_cluster(ports.admin)]
    source = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "15s"}
    return {
        "node": proxy.node,
        "admin": {
            "address": _socket(Address("127.0.0.1", ports.admin)),
            "ignore_global_conn_limit": True,
        },
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC" if variant == "delta" else "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds", "retry_policy": _RECONNECT}}],
            },
            "cds_config": source,
            "lds_config": source,
        },
        "static_resources": {"clusters": clusters, "listeners": listeners},
        "stats_config": STATS_CONFIG,
        "deferred_stat_options": {"enable_deferred_creation_stats": True},
        "layered_runtime": {"layers": [{"name": "xdscp", "static_layer": _RUNTIME}]},
        "overload_manager": _OVERLOAD,
    }


def grpc_bootstrap(proxy: Proxy, xds: Address) -> Json:
    """A proxyless gRPC client's bootstrap (gRFC A27), the content of GRPC_XDS_BOOTSTRAP_CONFIG."""
    return {
        "xds_servers": [
            {"server_uri": str(xds), "channel_creds": [{"type": "insecure"}], "server_features": ["xds_v3"]}
        ],
        "node": proxy.node,
        "server_listener_resource_name_template": GRPC_SERVER_LISTENER,
    }


# Envoy's own back-off grows to 30 s; after an outage all streams are to be back within 10.
_RECONNECT = {"retry_back_off": {"base_interval": "0.25s", "max_interval": "5s"}}

_RUNTIME = {"re2": {"max_program_size": {"error_level": REGEX_PROGRAM}}}

_OVERLOAD = {
    "resource_monitors": [
        {
            "name": "envoy.resource_monitors.global_downstream_max_connections",
            "typed_config": {
                "@type": f"{_TYPE}envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                "max_active_downstream_connections": DOWNSTREAM_CONNECTIONS,
            },
        }
    ]
}


def _socket(address: Address) -> Json:
    if address.path:
        return {"pipe": {"path": address.path}}
    return {"socket_address": {"address": address.host, "port_value": address.port}}


def _endpoints(name: str, address: Address) -> Json:
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _socket(address)}}]}]}


def _xds_cluster(xds: Address) -> Json:
    """The control plane. Pings find a dead connection within 35 s, since an idle stream never writes."""
    cluster: Json = {
        "name": "xds",
        "connect_timeout": "1s",
        "load_assignment": _endpoints("xds", xds),
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPE}envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    "http2_protocol_options": {
                        "connection_keepalive": {"interval": "30s", "timeout": "5s"},
                        "initial_stream_window_size": _WINDOW,
                        "initial_connection_window_size": _WINDOW,
                    }
                },
            }
        },
    }
    if xds.path or xds.ip is not None:
        return cluster | {"type": "STATIC"}
    return cluster | {
        "type": "STRICT_DNS",
        "dns_lookup_family": "V4_PREFERRED",
        "dns_failure_refresh_rate": {"base_interval": "0.5s", "max_interval": "5s"},
    }


def _admin_cluster(name: str, admin: int) -> Json:
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": _endpoints(name, Address("127.0.0.1", admin)),
    }


def _live_cluster(admin: int) -> Json:
    """The admin interface, healthy while `/ready` is 200: the server is LIVE and not draining."""
    return _admin_cluster("live", admin) | {"health_checks": [_check("/ready")]}


def _configured_cluster(admin: int) -> Json:
    """The admin interface, healthy once CDS and LDS were accepted: `usedonly` shows a counter from its first count."""
    counters = "cluster_manager.cds.update_success", "listener_manager.lds.update_success"
    pattern = "%7C".join(f"%5E{counter}%24" for counter in counters)
    check = _check(f"/stats?usedonly&filter={pattern}")
    check["http_health_check"]["receive"] = [{"text": counter.encode().hex()} for counter in sorted(counters)]
    return _admin_cluster("configured", admin) | {"health_checks": [check]}


def _check(path: str) -> Json:
    """Asked twice a second until healthy, then hardly ever: neither is lost again but by draining, which the filter sees."""
    return {
        "timeout": "1s",
        "interval": "0.5s",
        "no_traffic_interval": "0.5s",
        "no_traffic_healthy_interval": "60s",
        "healthy_threshold": 1,
        "unhealthy_threshold": 1,
        "http_health_check": {"host": "admin", "path": path},
    }


def _readiness(address: Address) -> Json:
    """`/healthz/ready`: 200 once the proxy is LIVE *and* has its configuration.

    `/ready` alone turns 200 when Envoy has waited 30 s for a control plane in vain, with nothing configured.
    """
    check = {
        "name": "envoy.filters.http.health_check",
        "typed_config": {
            "@type": f"{_TYPE}envoy.extensions.filters.http.health_check.v3.HealthCheck",
            "pass_through_mode": False,
            "headers": [{"name": ":path", "string_match": {"exact": "/healthz/ready"}}],
            "cluster_min_healthy_percentages": {"live": {"value": 100}, "configured": {"value": 100}},
        },
    }
    return _listener("readiness", address, [], [check])


def _prometheus(address: Address) -> Json:
    route = {
        "match": {"path": "/stats/prometheus", "headers": [_GET]},
        "route": {"cluster": "admin", "timeout": "30s"},
    }
    return _listener("prometheus", address, [route], [])


_GET = {"name": ":method", "string_match": {"exact": "GET"}}


def _listener(name: str, address: Address, routes: list[Json], filters: list[Json]) -> Json:
    """An HTTP listener that overload does not close, or a busy pod would be taken for a dead one."""
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{_TYPE}envoy.extensions.filters.http.router.v3.Router"},
    }
    return {
        "name": name,
        "address": _socket(address),
        "ignore_global_conn_limit": True,
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": {
                            "@type": f"{_TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                            "stat_prefix": name,
                            "route_config": {
                                "name": name,
                                "virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}],
                            },
                            "http_filters": [*filters, router],
                        },
                    }
                ]
            }
        ],
    }
