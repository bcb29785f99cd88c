"""Settings: everything that an operator may choose, read from the environment (prefix `PORTAL_`)."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from portal.colour import require_colour
from portal.languages import ENGLISH, LANGUAGES


def _require_rate(text: str) -> str:
    from limits import parse

    try:
        parse(text)
    except ValueError:
        raise ValueError("must be a number and a time, such as `6000 per minute`") from None
    return text


# A host source of a policy (https://www.w3.org/TR/CSP3/#grammardef-host-source), and the three words that we allow.
_ORIGIN = re.compile(
    r"\*|'none'|'self'|(https?://)?(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:([0-9]{1,5}|\*))?/?"
)
# What may stand in an address without being taken for its end, or for the end of a header.
_ADDRESS = re.compile(r"(https?://[^\s\"'<>\\]+|mailto:[^\s\"'<>\\@]+@[^\s\"'<>\\]+)")


def _require_visible(text: str) -> str:
    text = text.strip()
    if not text or not text.isprintable() or any("\ue000" <= letter <= "\uf8ff" for letter in text):
        raise ValueError("must be visible characters")
    return text


def _require_language(tag: str) -> str:
    if tag not in LANGUAGES:
        raise ValueError(f"“{tag[:35]}” is none of the languages that there are: {', '.join(LANGUAGES)}")
    return tag


class MissingSetting(Exception):
    """The portal can't start as it is set up; the text says what to set."""


class Settings(BaseSettings):
    """What the operator chose; every field is the environment variable `PORTAL_` + its name in capitals."""

    model_config = SettingsConfigDict(env_prefix="PORTAL_", frozen=True, env_ignore_empty=True, extra="ignore")

    env: Literal["development", "production"] = Field(
        "development", description="`production` wants every secret given and logs JSON."
    )
    instance: Path = Field(Path("instance"), description="The data folder: database, keys, what the sandbox shop sold.")
    database_url: str = Field("", description="SQLAlchemy URL; default: SQLite in the data folder.")
    base_url: str = Field("http://127.0.0.1:8000", description="Where people reach the portal; links begin with it.")
    installation_webhook_url: str = Field("", description="Where finished installations are announced.")
    abandoned_after: int = Field(
        30, ge=1, description="Minutes without an action until an opened link counts as abandoned."
    )
    demo_ingest_url: str = Field("", description="Where the demo workflow sends orders.")
    catalogue: Annotated[tuple[Path, ...], NoDecode] = Field(
        (),
        description="Extra app declarations: files or folders, separated by the system's path separator (`:`).",
    )
    frame_ancestors: Annotated[tuple[str, ...], NoDecode] = Field(
        ("*",),
        description="Origins that may embed the install page, separated by spaces; `'none'` for nobody.",
    )
    allow_private_network: str = Field(
        "",
        description="Hosts, host:port or networks (CIDR) on private addresses that apps may live on; `true` for all.",
    )
    ca_bundle: Path | None = Field(None, description="Extra certificate authorities (PEM) that apps' hosts may use.")
    vendor_name: Annotated[str, AfterValidator(_require_visible)] = Field(
        "Demo Vendor", max_length=80, description="Who asks: shown at the top of every install page."
    )
    vendor_logo: str = Field(
        "", description="Path of a logo below this portal's own origin, such as `/branding/logo.svg`."
    )
    accent: Annotated[str, AfterValidator(require_colour)] = Field(
        "#1f5fbf",
        description="Colour of buttons and links (#rrggbb); darkened or lightened until it can be read.",
    )
    support_url: str = Field("", max_length=500, description="Where end users find help: https:// or mailto:.")

    language: str = Field(
        ENGLISH.tag, description="Language of the install page, where neither the link nor the browser says another."
    )
    languages: Annotated[tuple[str, ...], NoDecode] = Field(
        tuple(LANGUAGES), description="Languages that the install page is offered in besides, separated by spaces."
    )
    run_log_days: int = Field(60, ge=1, le=3650, description="Days that the logs of runs are kept.")
    event_days: int = Field(
        90, ge=7, le=3650, description="Days that events are kept, with their deliveries, once nothing of them waits."
    )
    link_days: int = Field(
        365, ge=30, le=3650, description="Days that links are kept after they ended without being finished."
    )
    audit_days: int = Field(
        0, ge=0, le=3650, description="Days that the audit log goes back, at least 366; 0 keeps all of it."
    )

    oidc_issuer: str = Field("", description="Address of an OpenID provider that operators sign in with.")
    oidc_client_id: str = Field("", description="What the provider calls this portal.")
    oidc_client_secret: SecretStr | None = Field(None, description="The secret that the provider gave the portal.")
    oidc_name: str = Field("single sign-on", max_length=60, description="What operators call the provider.")
    oidc_domains: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Domains of e-mail addresses that may sign in by it, separated by spaces; empty: all."
    )
    oidc_role: Literal["", "admin", "member", "viewer"] = Field(
        "", description="Role of who comes for the first time; empty: only operators who were invited may come."
    )

    credential_keyset: SecretStr | None = Field(None, description="Tink AEAD keyset (JSON) that seals credentials.")
    link_keys: SecretStr | None = Field(
        None, description="Keys that sign links, separated by commas; the last one signs."
    )
    webhook_private_key: SecretStr | None = Field(None, description="RSA private key (PEM) for `X-Alloy-Signature`.")
    webhook_secrets: SecretStr | None = Field(
        None, description="Standard Webhooks secrets (`whsec_…`), separated by commas; every one signs."
    )

    api_rate: Annotated[str, AfterValidator(_require_rate)] = Field(
        "6000 per minute", description="How much one API key, user token or address may call, such as `100 per second`."
    )
    per_host: int = Field(
        8,
        ge=1,
        description="Calls to one host at once for people at a page; the background has 16 or more of its own.",
    )
    in_all: int = Field(
        240,
        ge=1,
        le=256,
        description="Calls to all hosts at once for people at a page; the background has half as many of its own.",
    )
    engine: bool = Field(True, description="Run the background engine in the web process; false with `flask worker`.")
    engine_polling: float = Field(0.05, gt=0, description="Seconds between two looks into the queues.")
    executor_id: str = Field(
        "",
        max_length=64,
        description="Name of this node, whose unfinished work it takes up at start; default: `local`, and on PostgreSQL"
        " the name of the host.",
    )
    log_json: bool | None = Field(None, description="JSON logs; default: only in production.")
    access_log: bool = Field(False, description="Log each request: method, path without query, status, time.")
    metrics_token: SecretStr | None = Field(
        None, description="Bearer token for `/metrics`; without it, not public in production."
    )

    @field_validator("catalogue", mode="before")
    @classmethod
    def _split_paths(cls, value: object) -> object:
        import os

        return tuple(p for p in value.split(os.pathsep) if p) if isinstance(value, str) else value

    @field_validator("frame_ancestors", mode="before")
    @classmethod
    def _split_origins(cls, value: object) -> object:
        origins = tuple(value.replace(",", " ").split()) if isinstance(value, str) else value
        if isinstance(origins, tuple):
            for origin in origins:
                if not _ORIGIN.fullmatch(origin):
                    raise ValueError(f"“{origin[:80]}” is no origin such as https://app.example")
            if "'none'" in origins and len(origins) > 1:
                raise ValueError("'none' stands alone: nobody may embed, and somebody may, can't both be")
        return origins or ("'none'",)

    @field_validator("language", mode="after")
    @classmethod
    def _known_language(cls, value: str) -> str:
        return _require_language(value)

    @field_validator("languages", mode="before")
    @classmethod
    def _split_languages(cls, value: object) -> object:
        tags = value.replace(",", " ").split() if isinstance(value, str) else value
        return tuple(map(_require_language, tags)) if isinstance(tags, list | tuple) else tags

    @field_validator("oidc_domains", mode="before")
    @classmethod
    def _split_domains(cls, value: object) -> object:
        return tuple(value.lower().replace(",", " ").split()) if isinstance(value, str) else value

    @field_validator("oidc_issuer", mode="after")
    @classmethod
    def _provider(cls, value: str) -> str:
        if value and not value.startswith(("https://", "http://")):
            raise ValueError("must begin with https:// (or http:// for a trial)")
        return value

    @field_validator("audit_days", mode="after")
    @classmethod
    def _whole_year(cls, value: int) -> int:
        if 0 < value < 366:
            raise ValueError("must be 0, or at least 366: no entry goes within a year")
        return value

    @field_validator("base_url", mode="after")
    @classmethod
    def _no_trailing_slash(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must begin with https:// (or http:// for a trial)")
        return value.rstrip("/")

    @field_validator("instance", mode="after")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.absolute()

    @field_validator("vendor_logo", mode="after")
    @classmethod
    def _own_origin(cls, value: str) -> str:
        if value and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", value):
            raise ValueError("must be a path on this portal's own origin, such as /branding/logo.svg")
        return value

    @field_validator("support_url", mode="after")
    @classmethod
    def _linkable(cls, value: str) -> str:
        if value and not _ADDRESS.fullmatch(value):
            raise ValueError("must begin with https:// or mailto:, and have no spaces")
        return value

    @model_validator(mode="after")
    def _default_database(self) -> Self:
        if not self.database_url:
            object.__setattr__(self, "database_url", f"sqlite:///{self.instance / 'portal.sqlite3'}")
        return self

    @model_validator(mode="after")
    def _default_node(self) -> Self:
        if not self.executor_id:
            is_sqlite = self.database_url.startswith("sqlite")
            object.__setattr__(self, "executor_id", "local" if is_sqlite else socket.gethostname()[:64])
        return self

    @model_validator(mode="after")
    def _whole_provider(self) -> Self:
        if self.oidc_issuer and not (self.oidc_client_id and self.oidc_client_secret):
            raise ValueError("PORTAL_OIDC_ISSUER wants PORTAL_OIDC_CLIENT_ID and PORTAL_OIDC_CLIENT_SECRET beside it")
        if self.oidc_role and not self.oidc_domains:
            raise ValueError("PORTAL_OIDC_ROLE wants PORTAL_OIDC_DOMAINS beside it: whom to let in without being asked")
        return self

    @property
    def is_production(self) -> bool:
        """Whether real customers meet this portal."""
        return self.env == "production"


def say(message: str) -> str:
    """A defect as it is told: without pydantic's beginning."""
    return message.removeprefix("Value error, ")


def read_settings(**given: object) -> Settings:
    """Read the environment; `given` wins over it. Raises `MissingSetting` with one sentence per defect."""
    try:
        settings = Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        lines = [
            f"PORTAL_{'_'.join(str(part) for part in e['loc']).upper()}: {say(e['msg'])}" if e["loc"] else say(e["msg"])
            for e in error.errors(include_input=False, include_url=False)
        ]
        raise MissingSetting("Please mend these settings:\n" + "\n".join(lines)) from None
    if settings.is_production and "base_url" not in settings.model_fields_set:
        raise MissingSetting("Set PORTAL_BASE_URL to the https:// address where people reach this portal.")
    return settings
