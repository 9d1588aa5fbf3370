"""What all parts of our custom resources share: the base of the pydantic models, and the object that is stored.

Place in the flow: `mesh_api.PARSERS` makes a stored object of a manifest; `mesh.traffic` and `mesh.workload` read it.
Fields are described for policy authors: the CRDs and docs/reference are generated from these models.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from xdscp.resources.core import Key, Labels

API_VERSION = "xdscp.io/v1alpha1"

SpecT = TypeVar("SpecT", bound="Part")


def camel_case(name: str) -> str:
    """The field's name in a manifest: `max_ejection_percent` is written `maxEjectionPercent`."""
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


class Part(BaseModel):
    """Base of all models: frozen, camelCase in manifests, unknown fields refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=camel_case, allow_inf_nan=False, serialize_by_alias=True
    )


def envoy(field: str) -> dict[str, Any]:
    """Names the Envoy field that a field becomes, for the reference pages."""
    return {"x-envoy": field}


def refusal(message: str, **context: Any) -> PydanticCustomError:
    """The error of a check that pydantic has no words for; braces in `message` are filled from `context`."""
    return PydanticCustomError("invalid", message, context)


@dataclass(frozen=True, slots=True)
class Stored(Generic[SpecT]):
    """An object of our API as a row of the store.

    `created` is the creationTimestamp (RFC 3339, "" when unknown); `generation` is 0 when unknown.
    """

    key: Key
    spec: SpecT
    created: str = ""
    generation: int = 0
    labels: Labels = ()


class _Metadata(BaseModel):
    """The part of ObjectMeta that is read; the API server checks the rest."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str = Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    namespace: str = Field("default", max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    creationTimestamp: datetime | str | None = None  # noqa: N815  # Kubernetes' own word
    generation: int = 0
    labels: dict[str, str] | None = None


class Manifest(BaseModel, Generic[SpecT]):
    """The envelope of a manifest: errors inside carry their path from the root, e.g. `spec.routes.0.name`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    apiVersion: Literal["xdscp.io/v1alpha1"]  # noqa: N815  # Kubernetes' own word
    kind: str
    metadata: _Metadata
    spec: SpecT
    status: Any = None

    def stored(self) -> Stored[SpecT]:
        """The row of the store."""
        metadata = self.metadata
        created = metadata.creationTimestamp
        if isinstance(created, datetime):
            moment = created if created.tzinfo is not None else created.replace(tzinfo=UTC)
            created = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Stored(
            Key(metadata.namespace, metadata.name),
            self.spec,
            created or "",
            metadata.generation,
            tuple(sorted((metadata.labels or {}).items())),
        )
