"""API keys from the environment and from a file."""

from bento.middleware import api_keys
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


def test_weights_of_the_file_and_lines_as_they_were(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(api_keys.log, "disabled", False)  # BentoML's import disables loggers that exist
    file = tmp_path / "keys"
    file.write_text(
        f"{OTHER} weight=4  # the shop's\n{KEY}\n{'p' * 16} with a blank\n{'w' * 16}\tweight=0.5\n"
        + "".join(
            f"{letter * 16} weight={weight}\n"
            for letter, weight in zip("abcd", ("0", "much", "nan", "1e9"), strict=True)
        )
    )
    keys = ApiKeys(ServiceSettings(api_key_file=file))
    weights = [keys.identify(key).weight for key in (OTHER, KEY, "p" * 16 + " with a blank", "w" * 16)]
    assert weights == [4, 1, 1, 0.5]
    assert {keys.identify(letter * 16).weight for letter in "abcd"} == {1}
    assert caplog.text.count("counts as 1") == 4
    assert keys.identify(f"{OTHER} weight=4") is None
