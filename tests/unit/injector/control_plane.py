"""A control plane of a few lines: it notes the requests, and answers each type once, when told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent import futures
from queue import Queue
from typing import Any

import grpc
from envoy.config.cluster.v3 import cluster_pb2
from envoy.service.discovery.v3 import discovery_pb2

_TYPES = "type.googleapis.com/envoy.config."


class ControlPlane:
    """Answers CDS with one cluster `out/shop/cart/80`, everything else with nothing; after `answering` is set."""

    def __init__(self, listen: str) -> None:
        self.first: Queue[Any] = Queue()
        """The first request of each stream."""
        self.answering = threading.Event()
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        handlers = {
            "DeltaAggregatedResources": grpc.stream_stream_rpc_method_handler(
                self._delta,
                discovery_pb2.DeltaDiscoveryRequest.FromString,
                discovery_pb2.DeltaDiscoveryResponse.SerializeToString,
            ),
            "StreamAggregatedResources": grpc.stream_stream_rpc_method_handler(
                self._sotw,
                discovery_pb2.DiscoveryRequest.FromString,
                discovery_pb2.DiscoveryResponse.SerializeToString,
            ),
        }
        name = "envoy.service.discovery.v3.AggregatedDiscoveryService"
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
        self.port = self._server.add_insecure_port(listen)
        self._server.start()

    def stop(self) -> None:
        self.answering.set()
        self._server.stop(0).wait()

    def _delta(self, requests: Iterator[Any], _: Any) -> Iterator[Any]:
        for request in self._unanswered(requests):
            answer = discovery_pb2.DeltaDiscoveryResponse(type_url=request.type_url, nonce="1", system_version_info="1")
            if request.type_url.endswith(".Cluster"):
                answer.resources.add(name="out/shop/cart/80", version="1").resource.Pack(_cluster())
            yield answer

    def _sotw(self, requests: Iterator[Any], _: Any) -> Iterator[Any]:
        for request in self._unanswered(requests):
            answer = discovery_pb2.DiscoveryResponse(type_url=request.type_url, nonce="1", version_info="1")
            if request.type_url.endswith(".Cluster"):
                answer.resources.add().Pack(_cluster())
            yield answer

    def _unanswered(self, requests: Iterator[Any]) -> Iterator[Any]:
        seen: set[str] = set()
        for request in requests:
            if not seen:
                self.first.put(request)
            if request.type_url not in seen:
                seen.add(request.type_url)
                self.answering.wait(60)
                yield request


def _cluster() -> Any:
    cluster = cluster_pb2.Cluster(name="out/shop/cart/80", type=cluster_pb2.Cluster.STATIC)
    cluster.load_assignment.cluster_name = cluster.name
    return cluster
