"""The worker from outside."""

import http.client
import time


def test_idle_connections_stay_open_for_load_balancers(service):
    """They use one again after a minute or more; uvicorn's own 5 s made that a 502 for their client."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    connection.connect()
    first = connection.sock
    for pause in (0, 8):
        time.sleep(pause)
        connection.request("GET", "/livez")
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"\n")
    assert connection.sock is first
    connection.close()
