"""Header edits as Envoy's. Envoy reads values as format strings, so a literal `%` is doubled."""

from __future__ import annotations

from typing import Literal

from envoy_data_plane.envoy.config.core.v3 import HeaderValue, HeaderValueOption, HeaderValueOptionHeaderAppendAction

from xdscp.mesh.routing import HeaderEdits

_ACTIONS = {
    "add": HeaderValueOptionHeaderAppendAction.APPEND_IF_EXISTS_OR_ADD,
    "set": HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
}


def literal(text: str) -> str:
    """Text that Envoy's substitution formatter renders as it stands; a lone `%` is refused by it, `%X%` is a command."""
    return text.replace("%", "%%")


def options(edits: HeaderEdits) -> list[HeaderValueOption]:
    """Values to set, then values to add: an addition to a header that is set too comes on top of it."""
    return [_option(name, value, "set") for name, value in edits.set] + [
        _option(name, value, "add") for name, value in edits.add
    ]


def merged(first: HeaderEdits, then: HeaderEdits) -> HeaderEdits:
    """What the edits of `first` and after them those of `then` come to. Envoy removes before it sets, and sets before it adds."""
    overruled = {name.lower() for name, _ in then.set} | {name.lower() for name in then.remove}
    return HeaderEdits(
        add=(*_without(first.add, overruled), *then.add),
        set=(*_without(first.set, overruled), *then.set),
        remove=tuple(dict.fromkeys((*first.remove, *then.remove))),
    )


def _without(edits: tuple[tuple[str, str], ...], names: set[str]) -> tuple[tuple[str, str], ...]:
    return tuple(edit for edit in edits if edit[0].lower() not in names)


def _option(name: str, value: str, action: Literal["add", "set"]) -> HeaderValueOption:
    return HeaderValueOption(
        header=HeaderValue(key=name, value=literal(value)),
        append_action=_ACTIONS[action],
        # Without it Envoy drops a header whose value is empty, which a policy may well ask for.
        keep_empty_value=not value,
    )
