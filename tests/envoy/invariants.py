"""What must be true of every stream between a control plane and an Envoy, checked on all that passes.

Kept for one Envoy over all its streams, since its configuration outlives them. `sent` is what Envoy has once it took
all that is under way; `acked` what it has said to have taken.

    OR-01  spontaneous pushes go in the order of the types; additions and removals of CDS and LDS go apart
    OR-07  no route or listener refers to an absent cluster, at any moment
    M11    a known route gets a new cluster only after Envoy acknowledged the cluster, that is, after it is warm
    M4     a changed cluster's endpoints follow unasked
    DX-13  no name twice, none both sent and removed; versions are not empty
    SW-10  nothing is sent again that is acknowledged, without a reason
"""

from __future__ import annotations

import time
from collections import Counter
from hashlib import blake2b

from tests.envoy.messages import ORDER, clusters_of, is_eds

ROUTES = ("lds", "rds", "vhds")
STILL = 0.03
"""Seconds after the last request, from which on a response is taken to be a push."""


class Invariants:
    """The checks; `broken` is what did not hold, as sentences."""

    def __init__(self):
        self.broken = []
        self.repeats = []
        """Responses that only repeat what is acknowledged, though nothing asked for it."""
        self.sent = {type: {} for type in ORDER}
        self.acked = {type: {} for type in ORDER}
        self.refers = {}
        self.owed = {}
        self.refused = set()
        """Names that Envoy rejected: whether it has them is not known."""
        self.untold = set()
        """Clusters that go with the first response of a SotW stream, on which Envoy does not tell what it has."""
        self._pending = {}
        self._asked = {}
        self._subscribed = set()
        self._first = set()
        self._eds = {}
        self._last_request = 0.0
        self._burst = []
        self._touched = False

    # -- streams

    def opened(self, _):
        """A stream begins: what is sent on it is new to it."""
        self._pending.clear()
        self._first = set(ORDER)
        self._subscribed.clear()
        self._asked = {}
        self.owed.clear()

    def closed(self, _):
        """A stream ends."""
        self.owed.clear()

    def requested(self, request):
        """Envoy sent a request."""
        self._last_request = request.time
        self._burst = []
        if request.type not in self.sent:
            return
        self._asked[request.type] = self._asked.get(request.type, 0) + 1
        if request.type == "eds":
            self._subscribed.update(request.names)
            self._subscribed.difference_update(request.unsubscribed)
        response = self._pending.pop((request.type, request.nonce), None)
        if response is None:
            return
        held = self.acked[request.type]
        blamed = {name for name in response.names if name in request.error} or set(response.names)
        for name, digest in response.effects.items():
            if request.error and name in blamed and digest is not None:
                self.refused.add((request.type, name))
                self._revert(request.type, name)
            elif digest is None:
                held.pop(name, None)
            else:
                held[name] = digest

    def _revert(self, type, name):
        if name in self.acked[type]:
            self.sent[type][name] = self.acked[type][name]
        else:
            self.sent[type].pop(name, None)
        self.owed.pop(name, None)

    # -- responses

    def responded(self, response):
        """The control plane sent a response."""
        type = response.type
        if type not in self.sent:
            self._fail("DX-13", f"a type nobody serves: {type}")
            return
        self._check_names(response)
        digests = {name: blake2b(body, digest_size=8).hexdigest() for name, body in response.bodies.items()}
        held = self.sent[type]
        changed = {name for name, digest in digests.items() if held.get(name) != digest}
        gone = set(response.removed) & held.keys()
        if not response.incremental and type in {"cds", "lds"}:
            gone = held.keys() - digests.keys()
        self._check_order(response, changed, gone)
        self._check_repeat(response, changed, gone)
        if type in {"cds", "lds"} and changed and gone and type not in self._first:
            self._fail("OR-01", f"{type} changes {sorted(changed)[:3]} and removes {sorted(gone)[:3]} at once")
        if type in ROUTES:
            self._check_warm(response, changed)
        if type == "cds":
            self.untold = gone if "cds" in self._first and not response.incremental else self.untold - digests.keys()
        self._apply(response, digests, gone)
        self._check_absent(type, gone)
        if type == "cds":
            for name in changed & self._subscribed:
                if self._eds.get(name):
                    self.owed[name] = response.time
        if type == "eds":
            for name in response.names:
                self.owed.pop(name, None)
        self._first.discard(type)
        self._asked[type] = 0

    def _apply(self, response, digests, gone):
        type = response.type
        held = self.sent[type]
        held.update(digests)
        for name, body in response.bodies.items():
            if type in ROUTES:
                self.refers[type, name, digests[name]] = clusters_of(type, body)
            elif type == "cds":
                self._eds[name] = is_eds(body)
        effects = dict(digests)
        if type in {"cds", "lds", "vhds"}:  # Envoy ignores the removal of the others
            for name in gone:
                del held[name]
                effects[name] = None
                self.owed.pop(name, None)
        pending = Pending(response.names, effects)
        self._pending[type, response.nonce] = pending

    def _check_names(self, response):
        twice = [name for name, count in Counter(response.names).items() if count > 1]
        if twice:
            self._fail("DX-13", f"{response.type} has twice: {twice[:3]}")
        both = set(response.names) & set(response.removed)
        if both:
            self._fail("DX-13", f"{response.type} both sends and removes {sorted(both)[:3]}")
        if not response.version or not response.nonce:
            self._fail("DX-13", f"a {response.type} response has no version or nonce")

    def _check_order(self, response, changed, gone):
        if response.time - self._last_request < STILL or (gone and not changed):
            return
        self._burst = [one for one in self._burst if response.time - one[0] < 0.005]
        later = [type for _, type in self._burst if ORDER.index(type) > ORDER.index(response.type)]
        if later:
            self._fail("OR-01", f"{response.type} is pushed behind {later[0]}")
        self._burst.append((response.time, response.type))

    def _check_repeat(self, response, changed, gone):
        if changed or gone or response.type in self._first or response.removed:
            return
        if response.type in {"eds", "sds", "vhds"} or self._asked.get(response.type, 0) > 1:
            return  # forced behind clusters and listeners, or names were added
        self.repeats.append((response.type, response.names[:3]))

    def _check_warm(self, response, changed):
        type = response.type
        if type in self._first and type != "vhds":
            return
        for name in changed:
            digest = blake2b(response.bodies[name], digest_size=8).hexdigest()
            refers = clusters_of(type, response.bodies[name])
            self.refers[type, name, digest] = refers
            if name not in self.acked[type]:
                continue  # new: nobody depends on it yet
            for cluster in refers - self.acked["cds"].keys():
                if ("cds", cluster) not in self.refused:
                    self._fail("M11", f"{type} {name} is sent to {cluster}, which Envoy has not acknowledged")

    def _check_absent(self, type, gone):
        gone = gone - self.untold
        clusters = self.sent["cds"].keys() | self.untold | {name for kind, name in self.refused if kind == "cds"}
        if type in ROUTES or (type == "cds" and gone):
            for kind in ROUTES:
                for name, digest in self.sent[kind].items():
                    absent = self.refers.get((kind, name, digest), frozenset()) - clusters
                    if absent:
                        self._fail("OR-07", f"{kind} {name} refers to {min(absent)}, which is absent")
        if type == "cds" and gone:
            for kind in ROUTES:
                for name, digest in self.acked[kind].items():
                    used = self.refers.get((kind, name, digest), frozenset()) & gone
                    if used:
                        self._fail("OR-07", f"{min(used)} is removed before Envoy took {kind} {name} without it")

    def _fail(self, case, sentence):
        self.broken.append(f"{case}: {sentence}")

    def overdue(self, seconds=1.0):
        """Clusters whose endpoints should have followed."""
        now = time.monotonic()
        return sorted(name for name, since in self.owed.items() if now - since > seconds)


class Pending:
    """A response that is not answered: its names, and what it does (name to digest, None: gone)."""

    __slots__ = ("effects", "names")

    def __init__(self, names, effects):
        self.names = names
        self.effects = effects
