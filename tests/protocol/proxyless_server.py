"""A gRPC server that takes its listener by xDS, as a process: `python -m tests.protocol.proxyless_server HOST:PORT NAME`.

It answers every RPC with its name, and runs until its standard input ends.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc


class Everything(grpc.GenericRpcHandler):
    """Answers every method with a name."""

    def __init__(self, name):
        self.name = name.encode()

    def service(self, handler_call_details):
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self.name)


def main(address, name):
    server = grpc.server(ThreadPoolExecutor(2), handlers=[Everything(name)], xds=True)
    server.add_insecure_port(address)
    server.start()
    print("started", flush=True)
    sys.stdin.read()
    server.stop(0).wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
