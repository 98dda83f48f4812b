"""What the service reads from the environment: typed, checked at start, each with the sentence that documents it.

`python -m bento.settings` prints the table of docs/configuration.md.
"""

import difflib
import os
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings, SettingsConfigDict

from bento import EMBEDDED_RUN
from precis.bundle.choose import choose_bundle

PREFIX = "PRECIS_"
SHORTEST_KEY = 16  # characters


class SettingsError(Exception):
    """A variable has a value that cannot be used; the text is one sentence that names it."""


class ServiceSettings(BaseSettings):
    """The variables are the fields' names in capitals after PRECIS_; an empty one counts as unset."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    device: str = Field("cpu", description="`cpu` or `cuda`; no start where ONNX Runtime does not have it.")
    bundle: Path = Field(
        default_factory=lambda others: choose_bundle(EMBEDDED_RUN, others.get("device", "cpu")),
        description="Folder of the bundle that is served; unset: in `artifacts/embedded`, `bundle-int8` for the CPU "
        "and `bundle-fp16` for CUDA where it is there, else `bundle`.",
    )
    compare_bundle: Path | None = Field(
        None,
        description="Bundle of the base model, which the page compares with; unset: `bundle-base-int8` beside the "
        "bundle, where there is one.",
    )
    public_key: Path | None = Field(
        None, description="Key file (PEM); where it is set, only a bundle signed with its private half is served."
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="Threads that compute; unset: one a physical core, at most the CPU quota."
    )
    rows: int | None = Field(
        None,
        ge=8,
        le=4096,
        description="Sequences decoded at once (a beam is one); unset: 32, or what fits into 2 GiB.",
    )
    max_waiting_tokens: int = Field(
        32_768, ge=1, description="Past so many tokens of waiting texts new requests get 429 with Retry-After."
    )
    timeout_seconds: float = Field(
        60.0, ge=0.1, le=3600, description="Longest time for one request (504); `timeout_ms` of a request may be less."
    )
    max_body_bytes: int = Field(2 << 20, ge=1024, description="Longest body of a request (413).")
    body_seconds: float = Field(30.0, gt=0, le=3600, description="Time in which a body has to arrive (408).")
    streams_per_client: int = Field(
        8, ge=1, description="Streams that one client (API key, else address) may have open at once (429)."
    )
    api_keys: SecretStr = Field(
        SecretStr(""), description="Keys, separated by commas. Where there are any, requests without one get 401."
    )
    api_key_file: Path | None = Field(
        None, description="File with a key a line (# begins a comment). It is read again when it changes."
    )
    page: bool | None = Field(
        None,
        description="Whether the page is served; unset: yes, unless there are API keys, which the page asks for none.",
    )
    cors_origins: str = Field(
        "", description="Origins, separated by commas, whose pages may call the API from a browser; unset: none."
    )
    linger_seconds: float = Field(
        1.0, ge=0, le=600, description="After SIGTERM: how long `/readyz` says 503 at least before the server closes."
    )
    grace_seconds: float = Field(
        25.0,
        ge=0,
        le=3600,
        description="After SIGTERM: how long running requests may take to finish; then they get 503.",
    )
    log_format: Literal["json", "text"] = Field("json", description="`json` (an object a line) or `text`.")
    otlp_endpoint: str | None = Field(
        None, description="Address of an OpenTelemetry collector (OTLP over HTTP, `http://host:4318/v1/traces`)."
    )

    @field_validator("api_keys")
    @classmethod
    def _long_enough(cls, keys: SecretStr) -> SecretStr:
        if any(len(key) < SHORTEST_KEY for key in split(keys.get_secret_value())):
            raise ValueError(f"has a key of fewer than {SHORTEST_KEY} characters")
        return keys

    @field_validator("api_key_file", "public_key")
    @classmethod
    def _is_there(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_file():
            raise ValueError("names no file")
        return path

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_http(cls, address: str | None) -> str | None:
        if address is not None and not address.startswith(("http://", "https://")):
            raise ValueError("should begin with http:// or https://")
        return address

    @property
    def asks_for_keys(self) -> bool:
        return bool(split(self.api_keys.get_secret_value())) or self.api_key_file is not None

    @property
    def has_page(self) -> bool:
        return not self.asks_for_keys if self.page is None else self.page


def split(text: str) -> list[str]:
    """The parts of a list separated by commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


@cache
def settings() -> ServiceSettings:
    """The environment's settings. Raises SettingsError for the first value that cannot be used, or a misspelt name."""
    names = [name.upper() for name in ServiceSettings.model_fields]
    for variable in sorted(os.environ):
        # Kubernetes sets PRECIS_PORT and the like for a service of this name, so unknown names are no mistake as such.
        name = variable.removeprefix(PREFIX)
        if name != variable and name not in names and (near := difflib.get_close_matches(name, names, 1, 0.8)):
            raise SettingsError(f"There is no variable {variable}; {PREFIX}{near[0]} is one.")
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
        shown = "" if default in (None, "", PydanticUndefined) else f"`{default}`"
        lines.append(f"| `{PREFIX}{name.upper()}` | {field.description} | {shown} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
