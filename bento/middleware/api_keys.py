"""API keys: several at once, from the environment and from a file that is read again when it changes."""

import hashlib
import hmac
import logging
import re

from bento.middleware.caller import Caller
from bento.settings import MIN_KEY_LENGTH, ServiceSettings, split

WEIGHTS = (0.01, 100.0)  # the least and the largest
LINE = re.compile(r"(?P<key>.*?)(\s+weight=(?P<weight>\S*))?")  # of the file, without its comment

log = logging.getLogger("precis.keys")


class ApiKeys:
    """Holds digests and compares with all of them each time, so that timing reveals nothing about the keys."""

    def __init__(self, settings: ServiceSettings) -> None:
        keys = split(settings.api_keys.get_secret_value())
        self._from_environment = {_digest(key): 1.0 for key in keys}
        self._path = settings.api_key_file
        self._version: tuple[int, int, int] | None = None
        self._from_file: dict[bytes, float] = {}
        self._read_file()  # now, for the log of the start

    def identify(self, key: str) -> Caller | None:
        """The key's owner by a short name (12 hexadecimal digits), or None where the key is not one of ours."""
        digest = hashlib.sha256(key.encode("latin-1")).digest()  # as a header is decoded
        match, weight = False, 1.0
        for known, known_weight in [*self._from_environment.items(), *self._read_file().items()]:
            if hmac.compare_digest(digest, known):
                match, weight = True, known_weight
        return Caller(digest.hex()[:12], weight) if match and key else None

    def _read_file(self) -> dict[bytes, float]:
        if self._path is None:
            return {}
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
            self._from_file, self._version = {}, None
        return self._from_file


def _parse(text: str) -> dict[bytes, float]:
    """The digests of the keys with their weights."""
    keys = {}
    for line in text.splitlines():
        match = LINE.fullmatch(line.split("#")[0].strip())
        if match and (key := match["key"]):
            if len(key) < MIN_KEY_LENGTH:
                log.warning("A key of fewer than %d characters is ignored", MIN_KEY_LENGTH)
            else:
                keys[_digest(key)] = 1.0 if match["weight"] is None else _weight(match["weight"])
    return keys


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = 0.0
    if not WEIGHTS[0] <= weight <= WEIGHTS[1]:
        log.warning("A key's weight is not a number from %g to %g and counts as 1", *WEIGHTS)
        return 1.0
    return weight


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
