"""API keys: several at once, from the environment and a file that is read again when it changes."""

import hashlib
import hmac
import logging
from pathlib import Path

from bento.settings import SHORTEST_KEY, ServiceSettings, split

log = logging.getLogger("precis.keys")


class Keys:
    """Compares digests, all of them each time, so that the time tells nothing of the keys."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._fixed = [_digest(key) for key in split(settings.api_keys.get_secret_value())]
        self._file = settings.api_key_file
        self._stamp: tuple[int, int, int] | None = None
        self._filed: list[bytes] = []
        self.asked = settings.asks_for_keys

    def client(self, headers: dict[bytes, bytes]) -> str | None:
        """A short name for whose key the headers (small letters) carry; None where it is no key of ours.

        `Authorization: Bearer KEY` or `X-API-Key: KEY`.
        """
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        given = key.strip() if scheme.lower() == b"bearer" else headers.get(b"x-api-key", b"")
        digest = hashlib.sha256(given).digest()
        found = False
        for known in [*self._fixed, *self._from_file()]:
            found |= hmac.compare_digest(digest, known)
        return digest.hex()[:12] if found and given else None

    def _from_file(self) -> list[bytes]:
        if self._file is None:
            return []
        try:
            now = self._file.stat()
            stamp = (now.st_mtime_ns, now.st_size, now.st_ino)
            if stamp != self._stamp:
                self._filed, self._stamp = _read(self._file), stamp
                log.info("%d API keys read", len(self._filed))
        except OSError as error:
            # A file that is just being replaced: those known so far stay good until it is back.
            log.warning("The API keys could not be read again: %s", error.strerror)
        return self._filed


def _read(path: Path) -> list[bytes]:
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    keys = [line for line in lines if line]
    if any(len(key) < SHORTEST_KEY for key in keys):
        log.warning("A key of fewer than %d characters is left out", SHORTEST_KEY)
    return [_digest(key) for key in keys if len(key) >= SHORTEST_KEY]


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
