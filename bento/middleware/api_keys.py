"""API keys: several at once, from the environment and from a file that is read again when it changes."""

import hashlib
import hmac
import logging

from bento.settings import MIN_KEY_LENGTH, ServiceSettings, split

log = logging.getLogger("precis.keys")


class ApiKeys:
    """Holds digests and compares with all of them each time, so that timing reveals nothing about the keys."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._from_environment = [_digest(key) for key in split(settings.api_keys.get_secret_value())]
        self._path = settings.api_key_file
        self._version: tuple[int, int, int] | None = None
        self._from_file: list[bytes] = []

    def identify(self, key: str) -> str | None:
        """A short name for the key (12 hexadecimal digits), or None where it is not one of ours."""
        digest = hashlib.sha256(key.encode("latin-1")).digest()  # as a header is decoded
        match = False
        for known in [*self._from_environment, *self._read_file()]:
            match |= hmac.compare_digest(digest, known)
        return digest.hex()[:12] if match and key else None

    def _read_file(self) -> list[bytes]:
        if self._path is None:
            return []
        try:
            stat = self._path.stat()
            version = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if version != self._version:
                # Editors on Windows begin a file with a byte-order mark.
                self._from_file = _parse(self._path.read_text(encoding="utf-8-sig", errors="replace"))
                self._version = version
                log.info("%d API keys read", len(self._from_file))
        except OSError as error:
            if self._from_file or self._version is not None:
                log.warning("The API keys cannot be read, and none of the file is valid: %s", error.strerror)
            self._from_file, self._version = [], None
        return self._from_file


def _parse(text: str) -> list[bytes]:
    keys = [key for line in text.splitlines() if (key := line.split("#")[0].strip())]
    if any(len(key) < MIN_KEY_LENGTH for key in keys):
        log.warning("A key of fewer than %d characters is ignored", MIN_KEY_LENGTH)
    return [_digest(key) for key in keys if len(key) >= MIN_KEY_LENGTH]


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
