"""API keys from the environment and from a file."""

from bento.middleware.api_keys import ApiKeys
from bento.settings import ServiceSettings

KEY, OTHER = "k" * 16, "o" * 20


def test_keys_come_from_the_environment_and_from_a_file_that_may_change(tmp_path):
    file = tmp_path / "keys"
    file.write_text(f"# ours\n{OTHER}  # the shop's\n\ntiny\n")
    keys = ApiKeys(ServiceSettings(api_keys=f"{KEY}, {KEY}2", api_key_file=file))
    for key in (KEY, KEY + "2", OTHER):
        assert keys.identify(key)
    assert keys.identify(KEY) != keys.identify(OTHER)
    for wrong in ("", KEY[:-1], KEY + " ", "tiny", f"Basic {KEY}"):
        assert keys.identify(wrong) is None
    file.write_text("n" * 24 + "\n")
    assert keys.identify(OTHER) is None
    assert keys.identify("n" * 24)
    file.unlink()
    assert keys.identify("n" * 24) is None, "without its file the service is closed to its keys"
    assert keys.identify(KEY)
    file.write_text("n" * 24 + "\n")
    assert keys.identify("n" * 24)


def test_byte_order_mark_is_no_part_of_the_first_key(tmp_path):
    file = tmp_path / "keys"
    file.write_bytes(b"\xef\xbb\xbf" + f"{OTHER}\r\n{KEY}\r\n".encode())
    keys = ApiKeys(ServiceSettings(api_key_file=file))
    assert keys.identify(OTHER)
    assert keys.identify(KEY)
