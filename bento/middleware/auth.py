"""Authentication by API key, as a backend of Starlette's AuthenticationMiddleware."""

from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse

from bento import metrics
from bento.errors import ServiceError
from bento.middleware.api_keys import ApiKeys
from bento.middleware.caller import KeyUser
from bento.middleware.paths import SUMMARIZE_PATHS

PROTECTED_PATHS = SUMMARIZE_PATHS | {"/model"}


class ApiKeyBackend(AuthenticationBackend):
    """Accepts `Authorization: Bearer KEY` and `X-API-Key: KEY`; the user is the key's owner."""

    def __init__(self, keys: ApiKeys) -> None:
        self.keys = keys

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, KeyUser] | None:
        """Credentials, or None on a path that needs none. Raises AuthenticationError."""
        if conn.scope["path"] not in PROTECTED_PATHS:
            return None
        scheme, _, key = conn.headers.get("authorization", "").partition(" ")
        caller = self.keys.identify(key.strip() if scheme.lower() == "bearer" else conn.headers.get("x-api-key", ""))
        if caller is None:
            metrics.rejections.labels("no_key").inc()
            raise AuthenticationError
        return AuthCredentials(["summarize"]), KeyUser(caller)


def unauthorized(_: HTTPConnection, __: AuthenticationError) -> JSONResponse:
    """The 401 response."""
    headers = {"WWW-Authenticate": "Bearer"}
    return ServiceError(401, "no_key", "A valid API key is needed.", headers=headers).response()
