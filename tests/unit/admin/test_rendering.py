from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from xdscp.admin.rendering import decoded, plain
from xdscp.resources.core import Key
from xdscp.snapshot import Resource, ResourceType


@profile(deadline=None)  # the machine may be busy
@given(st.sampled_from(list(ResourceType)), st.binary())
def test_any_bytes(type: ResourceType, body: bytes) -> None:
    """any bytes are shown as JSON: decoded, or as they are."""
    json.dumps(decoded(Resource(type, "x", "1", body)))


def test_extension_not_imported() -> None:
    """a message inside of another is decoded although nothing has imported its package."""
    script = """if True:
        from envoy_data_plane.envoy.config.cluster.v3 import Cluster
        from envoy_data_plane.google.protobuf import Any
        from xdscp.admin.rendering import decoded
        from xdscp.snapshot import Resource, ResourceType
        name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        options = Any(type_url=f"type.googleapis.com/{name}", value=b"")
        cluster = Cluster(name="x", typed_extension_protocol_options={name: options})
        import json
        print(json.dumps(decoded(Resource(ResourceType.CDS, "x", "1", bytes(cluster)))))
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    assert json.loads(done.stdout) == {
        "name": "x",
        "typedExtensionProtocolOptions": {name: {"@type": f"type.googleapis.com/{name}"}},
    }


@dataclass(frozen=True)
class Thing:
    key: Key
    many: frozenset[int]
    by: dict[Key, tuple[int, ...]]


def test_plain() -> None:
    """typed objects become JSON values; keys are written namespace/name."""
    assert plain([Thing(Key("a", "b"), frozenset({2, 1}), {Key("", "n"): (1,)}), b"x", None]) == [
        {"key": "a/b", "many": [1, 2], "by": {"n": [1]}},
        "b'x'",
        None,
    ]
