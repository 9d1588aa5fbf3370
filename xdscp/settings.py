"""What an operator sets: one frozen `Settings`, read once at start from flags and `XDSCP_…` variables.

Place in the flow: the serve verb reads it and gives it to `app`. A flag wins over its variable. Variables with other
names are left alone: Kubernetes itself sets some (`XDSCP_PORT`, `XDSCP_SERVICE_HOST`) where a Service is named xdscp.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from xdscp import address
from xdscp.address import Address

_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_SHOWN = 200
"""Characters of a refused value that an error repeats."""


class SettingsError(Exception):
    """One sentence that names the flag or the variable, its value, and what is allowed."""


def _address(value: object) -> object:
    return address.parsed(value) if isinstance(value, str) else value


def _plaintext(value: Address) -> Address:
    if not value.local:
        raise ValueError(
            "xDS in plaintext is served to this machine only; allowed: 127.0.0.0/8, [::1], localhost and unix:PATH"
        )
    return value


def _domain(value: str) -> str:
    if len(value) > 253 or not _DOMAIN.fullmatch(value):
        raise ValueError("allowed: a DNS name in lower case, such as cluster.local")
    return value


def _folder(value: Path | None) -> Path | None:
    if value is not None and not value.is_dir():
        raise ValueError("allowed: a directory that exists")
    if value is not None and not os.access(value, os.R_OK | os.X_OK):
        raise ValueError("allowed: a directory that this user may read")
    return value


Listen = Annotated[InstanceOf[Address], NoDecode, BeforeValidator(_address)]
Domain = Annotated[str, AfterValidator(_domain)]


class Settings(BaseSettings):
    """The settings of a control plane. Field `xds_listen` is flag `--xds-listen` and variable `XDSCP_XDS_LISTEN`."""

    model_config = SettingsConfigDict(env_prefix="XDSCP_", frozen=True, extra="forbid", env_ignore_empty=True)

    directory: Annotated[Path | None, AfterValidator(_folder)] = Field(
        None, description="A folder of Kubernetes manifests in YAML or JSON, read recursively and watched."
    )
    kubernetes: bool = Field(default=False, description="Watch a Kubernetes API server.")
    xds_listen: Annotated[Listen, AfterValidator(_plaintext)] = Field(
        Address("127.0.0.1", 15010), description="xDS in plaintext: a loopback address or unix:PATH; port 0 picks one."
    )
    admin_listen: Listen = Field(
        Address("127.0.0.1", 15014), description="Health, metrics and debug by HTTP; port 0 picks one."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="How log lines are written; auto: console on a terminal, else json."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least level logged.")
    trust_domain: Domain = Field("cluster.local", description="The trust domain of SPIFFE identities.")
    cluster_domain: Domain = Field("cluster.local", description="The domain of Services' DNS names.")
    loopback_endpoints: Literal["auto", "allow", "refuse"] = Field(
        "auto", description="Endpoints on loopback addresses; auto: allowed with --directory only."
    )
    verify: bool = Field(
        default=False, description="After each change compare the incremental result with a full recompute (slow)."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Settings:
        if self.kubernetes and self.directory is not None:
            raise ValueError("--directory and --kubernetes exclude each other; give one of them")
        if self.kubernetes:
            raise ValueError("--kubernetes is not available in this version; give --directory PATH")
        if self.directory is None:
            raise ValueError("no source of objects is given; give --directory PATH (or XDSCP_DIRECTORY)")
        return self

    @property
    def loopback_allowed(self) -> bool:
        """Whether endpoints on loopback addresses are served."""
        if self.loopback_endpoints == "auto":
            return self.directory is not None
        return self.loopback_endpoints == "allow"


def settings(flags: Mapping[str, Any]) -> Settings:
    """The settings from the flags given (by field name) and the environment.

    Raises SettingsError at the first value that is not allowed.
    """
    try:
        return Settings(**flags)
    except ValidationError as error:
        raise SettingsError(_sentence(error, flags)) from None


def _sentence(error: ValidationError, flags: Mapping[str, Any]) -> str:
    first = error.errors(include_url=False)[0]
    reason = str(first["msg"]).removeprefix("Value error, ")
    if not first["loc"]:
        return reason
    field = str(first["loc"][0])
    flag = f"--{field.replace('_', '-')}"
    where = flag if field in flags else f"XDSCP_{field.upper()}"
    if first["type"] == "literal_error":
        reason = f"allowed: {first['ctx']['expected'].replace(chr(39), '')}"
    elif first["type"] == "bool_parsing":
        reason = "allowed: true or false"
    shown = json.dumps(str(first["input"])[:_SHOWN], ensure_ascii=False)
    return f"{where} is {shown}: {reason}"
