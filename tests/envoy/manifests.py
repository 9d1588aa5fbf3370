"""Kubernetes objects as dicts, as short as a test wants to read them."""

from __future__ import annotations

NAMESPACE = "shop"


def service(name, *ports, selector=None, namespace=NAMESPACE, **spec):
    """A Service; ports as (number, target) or (number, target, port name), HTTP."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            **({"selector": selector} if selector is not None else {}),
            "ports": [
                {"name": rest[0] if rest else f"http-{number}", "port": number, "targetPort": target}
                for number, target, *rest in ports or ((80, 8080),)
            ],
            **spec,
        },
    }


def pod(name, ip, labels=None, *, ready=True, terminating=False, annotations=None, namespace=NAMESPACE):
    """A Pod with an HTTP port 8080."""
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels or {},
            "annotations": annotations or {},
        },
        "spec": {"serviceAccountName": "default", "containers": [{"name": "app"}]},
        "status": {"podIP": ip, "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }
    if terminating:
        manifest["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
    return manifest


def endpoint(address, *, ready=None, serving=None, terminating=None, **rest):
    """An endpoint of a slice; conditions that are None are left out."""
    conditions = {"ready": ready, "serving": serving, "terminating": terminating}
    given = {name: value for name, value in conditions.items() if value is not None}
    return {"addresses": [address], **({"conditions": given} if given else {}), **rest}


def endpoint_slice(name, owner, *endpoints, port=8080, port_name="http-80", namespace=NAMESPACE):
    """An EndpointSlice of a Service."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": owner},
        },
        "addressType": "IPv4",
        "ports": [{"name": port_name, "port": port, "protocol": "TCP"}],
        "endpoints": [each if isinstance(each, dict) else endpoint(each) for each in endpoints],
    }


def policy(name, target, *, namespace=NAMESPACE, **spec):
    """A TrafficPolicy of a Service."""
    return {
        "apiVersion": "xdscp.io/v1alpha1",
        "kind": "TrafficPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"targetRefs": [{"group": "", "kind": "Service", "name": target}], **spec},
    }


def route(*backends, name="all", **rest):
    """A route to backends, each a dict as the policy has it."""
    return {"name": name, **({"backends": list(backends)} if backends else {}), **rest}


def subsets(**labels):
    """Subsets by name, each with the version that it selects."""
    return [{"name": name, "labels": {"version": version}} for name, version in labels.items()]
