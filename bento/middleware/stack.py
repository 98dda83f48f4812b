"""The middlewares in their order."""

import ipaddress

from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.cors import CORSMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from bento.middleware.access_log import AccessLogMiddleware
from bento.middleware.admission import AdmissionMiddleware
from bento.middleware.api_keys import ApiKeys
from bento.middleware.auth import ApiKeyBackend, unauthorized
from bento.middleware.body_limit import BodyLimitMiddleware
from bento.middleware.disconnect import DisconnectMiddleware
from bento.middleware.draining import DrainMiddleware
from bento.middleware.errors import ErrorMiddleware
from bento.middleware.paths import KnownPathsMiddleware
from bento.middleware.request_id import RequestIDMiddleware
from bento.middleware.root_path import AddRootPathMiddleware, StripRootPathMiddleware
from bento.middleware.security_headers import SecurityHeadersMiddleware
from bento.process.drain import Lifecycle
from bento.settings import ServiceSettings, split

SPARE_SECONDS = 15.0  # over the longest request: how long a client that does not read its response is waited for


def middleware_stack(settings: ServiceSettings, lifecycle: Lifecycle) -> list[Middleware]:
    """All middlewares, the outermost first.

    The first takes the client's address and scheme from a trusted proxy, for all others. Outside are also those that
    touch every response, errors included: a browser may read a 401 only with CORS headers, and every line of the log
    needs the id. ErrorMiddleware turns the exceptions of those inside it into responses. These refuse at the least
    cost: first by key and by the state of the server, then by load, and only then is a body read. The disconnect is
    watched for innermost, since before it the body is what the client sends.
    """
    return [
        Middleware(ProxyHeadersMiddleware, trusted_hosts=_trusted_proxies(settings)),
        *_root_path(StripRootPathMiddleware, settings),
        *_tracing(settings),
        *_cors(settings),
        Middleware(RequestIDMiddleware),
        Middleware(AccessLogMiddleware),
        Middleware(SecurityHeadersMiddleware),
        Middleware(ErrorMiddleware),
        Middleware(KnownPathsMiddleware),
        *_authentication(settings),
        Middleware(DrainMiddleware, lifecycle=lifecycle),
        Middleware(
            AdmissionMiddleware,
            streams_per_client=settings.streams_per_client,
            max_seconds=settings.timeout_seconds,
        ),
        Middleware(BodyLimitMiddleware, max_bytes=settings.max_body_bytes, max_seconds=settings.body_seconds),
        Middleware(DisconnectMiddleware, max_seconds=settings.timeout_seconds + SPARE_SECONDS),
        *_root_path(AddRootPathMiddleware, settings),
    ]


def _trusted_proxies(settings: ServiceSettings) -> str | list[str]:
    """The networks; those of IPv4 also as a socket for both kinds of addresses shows them. Or `*`, for everybody."""
    if settings.trusted_proxies == "*":
        return "*"
    networks = [ipaddress.ip_network(address) for address in split(settings.trusted_proxies)]
    mapped = [f"::ffff:{ip.network_address}/{96 + ip.prefixlen}" for ip in networks if ip.version == 4]
    return [*map(str, networks), *mapped]


def _root_path(
    middleware: type[StripRootPathMiddleware | AddRootPathMiddleware], settings: ServiceSettings
) -> list[Middleware]:
    return [Middleware(middleware, root_path=settings.root_path)] if settings.root_path else []


def _tracing(settings: ServiceSettings) -> list[Middleware]:
    if not settings.otlp_endpoint:
        return []
    from bento.tracing import tracing_middleware  # imports OpenTelemetry's SDK

    return [tracing_middleware(settings.otlp_endpoint)]


def _cors(settings: ServiceSettings) -> list[Middleware]:
    if not settings.cors_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=split(settings.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-ID"],
            expose_headers=["Retry-After", "X-Request-ID"],
        )
    ]


def _authentication(settings: ServiceSettings) -> list[Middleware]:
    if not settings.asks_for_keys:
        return []
    return [Middleware(AuthenticationMiddleware, backend=ApiKeyBackend(ApiKeys(settings)), on_error=unauthorized)]
