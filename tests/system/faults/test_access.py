"""Who may call the service: API keys, their renewal, origins of browsers, and upgrades of a connection."""

import socket

import httpx

from tests.support.faults import KEY


def test_api_requires_a_key(limited, client):
    for headers in ({}, {"X-API-Key": "wrong" * 5}, {"Authorization": "Bearer"}, {"Authorization": f"Basic {KEY}"}):
        for path in ("/summarize", "/summarize_batch", "/summarize_stream"):
            response = httpx.post(limited.url + path, json={"text": "x"}, headers=headers)
            assert (response.status_code, response.json()["error"]["type"]) == (401, "no_key")
            assert response.headers["www-authenticate"] == "Bearer"
    assert httpx.get(limited.url + "/model").status_code == 401
    assert client.get("/model").status_code == 200
    assert httpx.get(limited.url + "/readyz").status_code == 200
    assert httpx.get(limited.url + "/ui").status_code == 404, "the page would bypass the keys"
    assert "security" in httpx.get(limited.url + "/docs.json").json()["paths"]["/summarize"]["post"]


def test_api_keys_change_without_a_restart(limited, client):
    new = {"X-API-Key": "the-new-key-of-today"}
    body = {"text": "x", "max_new_tokens": 1}
    assert httpx.post(limited.url + "/summarize", json=body, headers=new).status_code == 401
    (limited.home / "keys").write_text(f"{KEY}\n{new['X-API-Key']}\n")
    assert httpx.post(limited.url + "/summarize", json=body, headers=new).status_code == 200
    (limited.home / "keys").write_text(f"{KEY}\n")
    assert httpx.post(limited.url + "/summarize", json=body, headers=new).status_code == 401
    assert KEY not in limited.log.read_text()


def test_configured_origins_may_call_from_a_browser(limited):
    preflight = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    response = httpx.options(limited.url + "/summarize", headers=preflight)
    assert response.headers["access-control-allow-origin"] == "https://shop.example"
    refused = httpx.post(limited.url + "/summarize", json={}, headers={"Origin": "https://shop.example"})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://shop.example", (
        "a browser has to be allowed to read the error"
    )
    other = httpx.options(limited.url + "/summarize", headers={**preflight, "Origin": "https://elsewhere.example"})
    assert "access-control-allow-origin" not in other.headers


def test_key_in_a_trailer_is_no_key(limited):
    body = b'{"text": "x", "max_new_tokens": 1}'
    head = b"POST /summarize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", limited.port), timeout=10) as connection:
        connection.sendall(head + b"%x\r\n" % len(body) + body + b"\r\n0\r\nX-API-Key: " + KEY.encode() + b"\r\n\r\n")
        assert b" 401 " in connection.recv(4096).split(b"\r\n")[0]


def test_websocket_is_refused(limited):
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n"
    with socket.create_connection(("127.0.0.1", limited.port), timeout=10) as connection:
        connection.sendall(b"GET /ui HTTP/1.1\r\nHost: x\r\n" + upgrade + b"\r\n")
        response = connection.recv(4096)
    assert response.startswith(b"HTTP/1.1 501 ")
    assert b'{"error":{"type":"bad_request"' in response
