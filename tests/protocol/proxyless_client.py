"""A gRPC client that finds its servers by xDS, as a process: GRPC_XDS_BOOTSTRAP_CONFIG holds for a whole process.

It reads commands as lines of JSON and answers each with one line. `call` sends a number of RPCs one by one, `together`
one to each of several targets, `load` sends them until `stop`, which answers with what became of them.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import grpc

CHANNELS = {}
INTERVAL = 0.01


def method(target, path):
    """The RPC of a target; its channel is kept."""
    if target not in CHANNELS:
        CHANNELS[target] = grpc.insecure_channel(target)
    return CHANNELS[target].unary_unary(path)


def outcome(rpc, command):
    """What became of one RPC; unless it may wait, it does not wait for a server to be ready."""
    began = time.monotonic()
    code, instance, details = "OK", "", ""
    try:
        metadata = list(command["metadata"].items())
        answer = rpc(b"", timeout=command["timeout"], metadata=metadata, wait_for_ready=command["wait"])
        instance = answer.decode()
    except grpc.RpcError as error:
        code, details = error.code().name, error.details()
    return {"code": code, "instance": instance, "details": details, "seconds": time.monotonic() - began}


def load(command, stop, outcomes):
    """Send RPCs to all targets in turn until told to stop."""
    while not stop.wait(INTERVAL):
        for target in command["targets"]:
            rpc = method(target, command["path"])
            outcomes.append({"target": target, **outcome(rpc, command)})


def together(command, target):
    """One of several RPCs that are sent at once."""
    return outcome(method(target, command["path"]), command)


def main():
    stop, thread, outcomes = threading.Event(), None, []
    for line in sys.stdin:
        command = json.loads(line)
        answer = []
        if command["do"] == "call":
            rpc = method(command["target"], command["path"])
            answer = [outcome(rpc, command) for _ in range(command["count"])]
        elif command["do"] == "together":
            with ThreadPoolExecutor(len(command["targets"])) as pool:
                answer = list(pool.map(partial(together, command), command["targets"]))
        elif command["do"] == "load":
            thread = threading.Thread(target=load, args=(command, stop, outcomes), daemon=True)
            thread.start()
        else:
            stop.set()
            thread.join()
            answer = outcomes
        print(json.dumps(answer), flush=True)
    for channel in CHANNELS.values():
        channel.close()


if __name__ == "__main__":
    main()
