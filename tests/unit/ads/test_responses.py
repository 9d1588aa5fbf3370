"""What all streams share."""

from __future__ import annotations

from tests.protocol.fixtures import CDS, EDS, resource, snapshot
from xdscp.ads.responses import Bounded, Responses
from xdscp.ads.types import BY_TYPE

CLUSTERS = BY_TYPE[CDS]


def test_bounded_forgets_the_oldest():
    """By weight, the one not used for longest first."""
    memo = Bounded(10)
    made = []
    for key in ("a", "b", "a", "c", "a", "b"):
        memo.get(key, lambda key=key: made.append(key), lambda _: 4)
    assert made == ["a", "b", "c", "b"]


def test_responses_are_encoded_once():
    """The same resources give the same bytes, nonce included, also when they are equal and not the same objects."""
    responses = Responses()
    first = responses.response(CLUSTERS, (resource(CDS, "a"),), (), incremental=True, after=0)
    second = responses.response(CLUSTERS, (resource(CDS, "a"),), (), incremental=True, after=0)
    assert first is second
    assert responses.response(CLUSTERS, (resource(CDS, "a", "2"),), (), incremental=True, after=0) is not first
    assert responses.response(CLUSTERS, (resource(CDS, "a"),), (), incremental=False, after=0) is not first


def test_nonces_are_never_used_twice_on_a_stream():
    """A stream that has had this response gets the same content under a newer nonce."""
    responses = Responses()
    first = responses.response(CLUSTERS, (resource(CDS, "a"),), (), incremental=True, after=0)
    again = responses.response(CLUSTERS, (resource(CDS, "a"),), (), incremental=True, after=first.number)
    assert again.number > first.number
    assert again.version == first.version


def test_selected_is_shared_and_knows_what_is_gone():
    """Streams that ask the same get the same tuple; None tells that something was removed."""
    responses = Responses()
    before = snapshot(resource(CDS, "a"), resource(CDS, "b"), resource(EDS, "a"))
    after = snapshot(resource(CDS, "a", "2"), resource(CDS, "b", "2"), resource(EDS, "a"))
    names = frozenset({"a"})
    chosen = responses.selected(CLUSTERS, before, after, names)
    assert [one.name for one in chosen] == ["a"]
    assert responses.selected(CLUSTERS, before, after, names) is chosen
    assert responses.selected(CLUSTERS, before, snapshot(resource(CDS, "a")), frozenset({"b"})) is None
    assert responses.selected(BY_TYPE[EDS], before, after, None) == ()


def test_names_are_interned():
    """Two streams that subscribe alike share one set."""
    responses = Responses()
    one = responses.names(frozenset(), ("a", "b"), ())
    assert responses.names(frozenset(), ("a", "b"), ()) is one
    assert responses.names(one, ("c",), ("a",)) == {"b", "c"}


def test_what_is_sent_again_is_encoded_once_for_all():
    """a response that repeats an older one's content gets a new nonce, and all streams that need one share it."""
    responses, held = Responses(), (resource(CDS, "a"),)
    old = responses.response(CLUSTERS, held, (), incremental=True, after=0)
    again = [responses.response(CLUSTERS, held, (), incremental=True, after=old.number) for _ in range(3)]

    assert again[0].number > old.number
    assert all(each is again[0] for each in again)
