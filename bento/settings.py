"""The service's settings: environment variables, checked at start-up, each with the sentence that documents it.

`python -m bento.settings` prints the table of docs/configuration.md.
"""

import difflib
import ipaddress
import os
import re
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from bento import EMBEDDED_RUN
from precis.bundle.choose import choose_bundle
from precis.bundle.names import MANIFEST

PREFIX = "PRECIS_"
MIN_KEY_LENGTH = 16  # characters
ROOT_PATH = re.compile(r"(/[\w.~-]+)*", re.ASCII)
ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^/\s]+")
# Kubernetes sets these in every pod for a service that is called precis.
KUBERNETES_VARIABLE = re.compile(r"PRECIS_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?)?)")
# Variables that the supervisors hand to their workers.
INTERNAL_VARIABLES = frozenset({"PRECIS_READY_FD", "PRECIS_SUPERVISOR_PID"})


class SettingsError(Exception):
    """A variable has an unusable value or a misspelt name; the text is one sentence that names it."""


class ServiceSettings(BaseSettings):
    """A variable's name is the field's in capitals after PRECIS_; an empty variable counts as unset."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    device: str = Field("cpu", description="`cpu` or `cuda`. The service does not start if ONNX Runtime lacks it.")
    bundle: Path = Field(
        EMBEDDED_RUN,
        validate_default=True,
        description="Folder of the bundle to serve, or of a run: then its fastest bundle for the device is served "
        "(`bundle-int8` on the CPU, `bundle-fp16` on CUDA, else `bundle`). Default: the run `artifacts/embedded`.",
    )
    compare_bundle: Path | None = Field(
        None,
        description="Bundle of the base model, which the page compares with. Default: `bundle-base-int8` next to the "
        "served bundle, if it exists.",
    )
    public_key: Path | None = Field(
        None, description="Public key (PEM). If set, only a bundle signed with its private key is served."
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="Compute threads. Default: one per physical core, at most the CPU quota."
    )
    rows: int | None = Field(
        None,
        ge=8,
        le=4096,
        description="Sequences decoded at once (each beam is one). Default: 32 texts with up to 128 beams in all, or "
        "as many as fit into 2 GiB.",
    )
    max_waiting_tokens: int = Field(
        65_536,
        ge=1,
        description="Tokens of waiting texts above which new requests get 429 with Retry-After. One caller (API key, "
        "else address) may have as many as it leaves to others.",
    )
    timeout_seconds: float = Field(
        60.0, ge=0.1, le=3600, description="Time limit of a request (504). Its `timeout_ms` can only shorten it."
    )
    min_trust: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Least trust of a written summary (docs/trust.md); below it the best sentence of the text is "
        "answered. A request's `min_trust` takes its place. The bundle needs a certificate of trust.",
    )
    max_body_bytes: int = Field(2 << 20, ge=1024, description="Size limit of a request's body (413).")
    body_seconds: float = Field(30.0, gt=0, le=3600, description="Time within which a body has to arrive (408).")
    streams_per_client: int = Field(
        8, ge=1, description="Streams that one client (API key, else address) may have open at once (429)."
    )
    api_keys: SecretStr = Field(
        SecretStr(""), description="API keys, separated by commas. If any are set, requests without one get 401."
    )
    api_key_file: Path | None = Field(
        None,
        description="File with one API key a line, which may be followed by `weight=2` (`#` starts a comment). It is "
        "read again when it changes.",
    )
    page: bool | None = Field(
        None,
        description="Whether to serve the page. Default: on, except when API keys are set, because the page cannot "
        "send one.",
    )
    cors_origins: str = Field(
        "",
        description="Origins (`https://example.com`), separated by commas, whose web pages may call the API from a "
        "browser; `*` allows all. Default: none.",
    )
    trusted_proxies: str = Field(
        "127.0.0.1,::1",
        description="Addresses or networks, separated by commas, of reverse proxies whose `X-Forwarded-For` and "
        "`X-Forwarded-Proto` are believed; `*` trusts everybody.",
    )
    root_path: str = Field(
        "", description="Path prefix under which a reverse proxy serves the service (`/precis`), stripped or not."
    )
    linger_seconds: float = Field(
        1.0, ge=0, le=600, description="After SIGTERM: shortest time for which `/readyz` answers 503 before the exit."
    )
    grace_seconds: float = Field(
        25.0,
        ge=0,
        le=3600,
        description="After SIGTERM: longest time that running requests get to finish. The others then get 503.",
    )
    log_format: Literal["json", "text"] = Field("json", description="`json` (one object a line) or `text`.")
    otlp_endpoint: str | None = Field(
        None, description="OpenTelemetry collector for traces (OTLP over HTTP, `http://host:4318/v1/traces`)."
    )

    @field_validator("bundle")
    @classmethod
    def _choose_bundle(cls, folder: Path, info: ValidationInfo) -> Path:
        bundle = choose_bundle(folder, info.data.get("device", "cpu"))
        # The folder that the user knows is the one to be reported missing.
        return bundle if os.path.isdir(bundle) else folder

    @field_validator("compare_bundle")
    @classmethod
    def _check_bundle(cls, folder: Path | None) -> Path | None:
        if folder is not None and not os.path.isfile(folder / MANIFEST):
            raise ValueError("names no bundle")
        return folder

    @field_validator("api_keys")
    @classmethod
    def _check_keys(cls, keys: SecretStr) -> SecretStr:
        value = keys.get_secret_value()
        if value and not split(value):  # else a setting without keys would leave the API open
            raise ValueError("has no key in it")
        if any(len(key) < MIN_KEY_LENGTH for key in split(value)):
            raise ValueError(f"has a key of fewer than {MIN_KEY_LENGTH} characters")
        return keys

    @field_validator("api_key_file", "public_key")
    @classmethod
    def _check_file(cls, path: Path | None) -> Path | None:
        if path is not None and not (os.path.isfile(path) and os.access(path, os.R_OK)):
            raise ValueError("names no file that can be read")
        return path

    @field_validator("otlp_endpoint")
    @classmethod
    def _check_url(cls, address: str | None) -> str | None:
        if address is not None and not address.startswith(("http://", "https://")):
            raise ValueError("should begin with http:// or https://")
        return address

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, origins: str) -> str:
        origins = origins.lower()  # as browsers send them
        if not all(map(ORIGIN.fullmatch, split(origins))):
            raise ValueError("should be origins (https://example.com, without a path), separated by commas, or *")
        return origins

    @field_validator("trusted_proxies")
    @classmethod
    def _check_addresses(cls, addresses: str) -> str:
        if addresses.strip() == "*":
            return "*"
        for address in split(addresses):
            try:
                ipaddress.ip_network(address)
            except ValueError:
                raise ValueError("should be addresses or networks (10.0.0.0/8), separated by commas, or *") from None
        return addresses

    @field_validator("root_path")
    @classmethod
    def _check_root_path(cls, path: str) -> str:
        path = path.rstrip("/")
        if not ROOT_PATH.fullmatch(path):
            raise ValueError("should be a path like /precis, of letters, digits and ._~-")
        return path

    @property
    def asks_for_keys(self) -> bool:
        """Whether requests need an API key."""
        return bool(split(self.api_keys.get_secret_value())) or self.api_key_file is not None

    @property
    def has_page(self) -> bool:
        """Whether the page is served."""
        return not self.asks_for_keys if self.page is None else self.page


FIELDS = [name.upper() for name in ServiceSettings.model_fields]  # the variables without their prefix
VARIABLES = frozenset(PREFIX + name for name in FIELDS)


def split(text: str) -> list[str]:
    """The parts of a list separated by commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def unknown_variables() -> list[str]:
    """The variables that begin with PRECIS_, in capitals or not, and that neither the service nor Kubernetes knows."""
    return [
        name
        for name in sorted(os.environ)
        if name.upper().startswith(PREFIX)
        and name not in VARIABLES
        and name not in INTERNAL_VARIABLES
        and not KUBERNETES_VARIABLE.fullmatch(name)
    ]


@cache
def settings() -> ServiceSettings:
    """The settings from the environment, read once. Raises SettingsError."""
    for variable in unknown_variables():
        # Pydantic ignores case, and code that reads os.environ does not: a variable in small letters would count for
        # some and not for others.
        close = difflib.get_close_matches(variable.upper().removeprefix(PREFIX), FIELDS, 1, 0.8)
        if close:
            raise SettingsError(f"There is no variable {variable}; {PREFIX}{close[0]} is one.")
    try:
        return ServiceSettings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        message = first["msg"].removeprefix("Value error, ").replace("Input should", "should")
        raise SettingsError(f"{PREFIX}{str(first['loc'][0]).upper()} {message}.") from None


def table() -> str:
    """The Markdown table of all variables."""
    lines = ["| variable | meaning | default |", "|---|---|---|"]
    for name, field in ServiceSettings.model_fields.items():
        default = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
        shown = "" if default in (None, "", EMBEDDED_RUN) else f"`{default}`"
        lines.append(f"| `{PREFIX}{name.upper()}` | {field.description} | {shown} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
