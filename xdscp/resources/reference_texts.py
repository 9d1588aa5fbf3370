"""What the reference pages say beside the tables: an example of each kind, and the rules that no single field tells.

Place in the flow: read by `resources.schema`.
"""

from __future__ import annotations

from typing import Final

EXAMPLES: Final = {
    "TrafficPolicy": """
apiVersion: xdscp.io/v1alpha1
kind: TrafficPolicy
metadata: {name: reviews, namespace: shop}
spec:
  targetRefs: [{kind: Service, name: reviews}]
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
  routes:
  - name: testers
    matches: [{headers: [{name: x-tester, value: "yes"}]}]
    backends: [{subset: v2}]
    timeouts: {request: 2s, perTry: 500ms}
    retry: {attempts: 3, retryOn: [5xx, reset], backoff: 25ms, budget: {percent: 20}}
  - name: canary
    backends: [{subset: v1, weight: 90}, {subset: v2, weight: 10}]
  loadBalancer: {type: LeastRequest, slowStart: 30s}
  circuitBreaker: {maxConnections: 100, maxPendingRequests: 50}
  outlierDetection: {consecutive5xx: 5, baseEjection: 30s, maxEjectionPercent: 50}
""",
    "MeshPolicy": """
apiVersion: xdscp.io/v1alpha1
kind: MeshPolicy
metadata: {name: mesh, namespace: xdscp-system}
spec:
  egress: Registered
  explicit:
    port: 15001
    tcp: [{service: {name: redis, namespace: data}, port: 6379, listenPort: 16379}]
  defaults:
    connectTimeout: 2s
    retry: {attempts: 2}
""",
    "ExternalService": """
apiVersion: xdscp.io/v1alpha1
kind: ExternalService
metadata: {name: payments, namespace: shop}
spec:
  hosts: [api.payments.example]
  ports: [{number: 80, name: http, tls: {mode: Originate}}]
  resolution: DNS
  endpoints: [{address: api.payments.example, port: 443}]
""",
    "Workload": """
apiVersion: xdscp.io/v1alpha1
kind: Workload
metadata: {name: reviews-vm, namespace: shop}
spec:
  address: 10.1.2.3
  labels: {app: reviews, version: v1}
  serviceAccount: reviews
  ports: [{name: http, port: 8080, appPort: 18080}]
  locality: {region: eu, zone: eu-1}
""",
}

RULES: Final = {
    "TrafficPolicy": """
**Which policy counts.** Several policies may target one Service. Each part (`routes`, `loadBalancer`,
`circuitBreaker`, `outlierDetection`, `connection`) of a port is that of one policy: one that names the port by
`sectionName` goes before one of the whole Service; then the oldest by `creationTimestamp`, then the first by namespace
and name. The younger policy is `Conflicted` for that part; its other parts count. Subsets of all policies are put
together; of two with the same name the older counts.

**Routes.** The first route that matches is taken. A request that no route matches goes to the Service itself. A
backend that does not exist (`ResolvedRefs` is false) loses its share to the others; a route whose backends all do not
exist answers 500. A TCP port takes the route without matches of a policy that names the port by `sectionName`, or,
where all ports of the Service are TCP, of a policy of the whole Service. A path is matched after it was normalized,
and without its query.

**Values are literal.** `%` in a header value means itself. Regular expressions are RE2, must match the whole value,
and may have 1,000 instructions when compiled.
""",
    "MeshPolicy": """
A MeshPolicy in the namespace `xdscp-system` is for the whole mesh; one in any other namespace is for that namespace and
goes before the mesh's, field by field. Of several for the same, the oldest that gives a field counts, then the first by
name; the younger is `Conflicted`. `egress` and `explicit` are about the workloads of the namespace; `defaults` are
about requests to its Services.
""",
    "ExternalService": """
A name that is a Service's belongs to the Service; of two ExternalServices with the same name the older has it.
""",
    "Workload": """
A Service without EndpointSlices takes the Workloads of its namespace that its selector matches, beside the Pods.
""",
}
