"""Outbound calls are bounded in time, size, number and destination, whatever the other side does."""

from __future__ import annotations

import ipaddress
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.http import NoAnswer, NotJSON, Outbound, PrivateNetwork, Problem, Request
from tests.stage import answer, drip, hang, pour, wait_until

EVERYTHING = PrivateNetwork.parse("true")


def outbound(private: PrivateNetwork = EVERYTHING, **options) -> Outbound:
    return Outbound(private=private, **{"ceiling": 5.0, **options})


def problem_of(out: Outbound, url: str, **options) -> Problem:
    with pytest.raises(NoAnswer) as silence:
        out.send(Request("GET", url), **options)
    return silence.value.problem


def test_an_answer_comes_back_as_it_is(provider):
    provider.behave = answer(200, b'{"a": 1}', X_Thing="yes")
    got = outbound().send(Request("GET", provider.url, {"X-Key": "k"}))
    assert (got.status, got.json(), got.headers["x-thing"], got.is_cut) == (200, {"a": 1}, "yes", False)
    assert provider.calls[0][1]["X-Key"] == "k"


def test_a_redirect_is_never_followed(provider):
    provider.behave = answer(302, b"elsewhere", Location=provider.url + "/other")
    got = outbound().send(Request("GET", provider.url))
    assert (got.status, got.body, len(provider.calls)) == (302, b"elsewhere", 1)


@pytest.mark.parametrize("behaviour", [hang, drip])
def test_the_ceiling_holds_for_the_whole_call_and_nothing_is_left_behind(provider, behaviour):
    provider.behave = behaviour
    out = outbound(ceiling=0.3)
    assert problem_of(out, provider.url) is Problem.timeout
    wait_until(lambda: out.calls_under_way == 0)


def test_a_server_that_never_finishes_its_head_is_given_up(provider):
    def endless_head(handler):
        try:
            while not handler.server.closing.wait(0.02):
                handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: y\r\n"[:1])
        except OSError:
            pass

    provider.behave = endless_head
    assert problem_of(outbound(ceiling=0.3), provider.url) is Problem.timeout


def test_a_name_that_never_resolves_is_given_up(monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(20) and [])
    assert problem_of(outbound(ceiling=0.2), "https://slow.example") is Problem.timeout
    released.set()


def test_a_huge_answer_is_refused_without_filling_memory(provider):
    provider.behave = pour
    assert problem_of(outbound(largest=10_000), provider.url) is Problem.too_large


def test_a_trusted_answer_is_cut_instead(provider):
    provider.behave = pour
    got = outbound().send(Request("GET", provider.url), trusted=True, largest=1024)
    assert (got.status, got.body, got.is_cut) == (200, b" " * 1024, True)


def test_packed_answers_are_never_unpacked(provider):
    import gzip

    provider.behave = answer(200, gzip.compress(b" " * 1_000_000), Content_Encoding="gzip")
    got = outbound().send(Request("GET", provider.url))
    assert len(got.body) < 10_000
    with pytest.raises(NotJSON):
        got.json()


PRIVATE = """
127.0.0.1 localhost localhost. 127.1 0x7f.1 2130706433 0 [::1] [::ffff:127.0.0.1] [fe80::1] [64:ff9b::7f00:1]
[::7f00:1] [fec0::1] [4000::1] 10.1.2.3 192.168.1.1 169.254.169.254 100.64.0.1 224.0.0.1
"""


@pytest.mark.parametrize("host", PRIVATE.split())
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_private_addresses_are_refused_however_they_are_spelt(scheme, host):
    nothing = outbound(PrivateNetwork.parse(""))
    assert problem_of(nothing, f"{scheme}://{host}:9/") in (Problem.private_address, Problem.no_such_host)


def resolving(monkeypatch, *answers: str) -> None:
    """Let every name resolve to these addresses, one after the other."""
    left = list(answers)
    real = socket.getaddrinfo

    def resolve(host, port, *rest, **more):
        address = left.pop(0) if not _is_literal(host) and left else host
        return real(address, port, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def test_a_name_that_resolves_to_a_private_address_is_refused(monkeypatch, provider):
    resolving(monkeypatch, "127.0.0.1")
    url = f"https://rebound.example:{provider.server_port}/"
    assert problem_of(outbound(PrivateNetwork.parse("")), url) is Problem.private_address
    assert provider.calls == []


def test_the_address_that_was_checked_is_the_one_that_is_called(monkeypatch, provider):
    # Public at the check, loopback at the next look-up: the second answer must never be asked for.
    resolving(monkeypatch, "8.8.8.8", "127.0.0.1")
    connected: list[str] = []

    def connect(self, address):
        connected.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", connect)
    assert problem_of(outbound(PrivateNetwork.parse("")), "https://rebinds.example/") is Problem.refused
    assert set(connected) == {"8.8.8.8"}


def test_plain_http_is_for_the_allowed_private_network_only(monkeypatch, provider):
    resolving(monkeypatch, "8.8.8.8")
    assert problem_of(outbound(PrivateNetwork.parse("10.0.0.0/8")), "http://shop.example/") is Problem.plain_http
    allowed = PrivateNetwork.parse(f"127.0.0.1:{provider.server_port}")
    assert outbound(allowed).send(Request("GET", provider.url)).status == 200
    other_port = provider.url.replace(str(provider.server_port), "9")
    assert problem_of(outbound(allowed), other_port) is Problem.private_address


def test_a_server_without_tls_and_a_refused_connection_are_told_apart(provider):
    assert problem_of(outbound(), provider.url.replace("http:", "https:")) is Problem.tls
    assert problem_of(outbound(), "http://127.0.0.1:1") is Problem.refused


def test_names_that_can_not_be_are_no_such_host():
    for host in ("no.such.host.invalid", "a..b", "x" * 70 + ".example"):
        assert problem_of(outbound(), f"https://{host}/") is Problem.no_such_host


@pytest.mark.parametrize("url", ["https://[x/", "https://h:99999/", "https://h:x/", "https://[::1/", "http://[v.]/"])
def test_an_address_that_can_t_be_read_is_no_request(url):
    with pytest.raises(ValueError, match="its address can't be read"):
        Request("GET", url)


def test_one_host_takes_no_more_than_its_places_and_leaves_the_rest_to_others(provider):
    provider.behave = hang
    out = outbound(per_host=3, ceiling=20)
    with ThreadPoolExecutor(5) as threads:
        waiting = [threads.submit(problem_or_status, out, provider.url) for _ in range(3)]
        wait_until(lambda: len(provider.calls) == 3)
        assert problem_of(out, provider.url) is Problem.busy
        assert problem_of(out, "http://127.0.0.1:1") is Problem.refused
        provider.closing.set()
        assert all(one.result() for one in waiting)
    wait_until(lambda: out.calls_under_way == 0)


def problem_or_status(out: Outbound, url: str) -> object:
    try:
        return out.send(Request("GET", url)).status
    except NoAnswer as silence:
        return silence.problem


@given(st.text(max_size=40))
def test_no_header_can_be_split(value):
    try:
        Request("GET", "https://a.example", {"X-Key": value})
    except ValueError:
        return
    assert all(" " <= char <= "~" or char == "\t" for char in value)


@pytest.mark.parametrize("text", ["", "false", "0", "no"])
def test_nothing_private_is_allowed_by_default(text):
    assert not PrivateNetwork.parse(text).allows("127.0.0.1", 80, ipaddress.ip_address("127.0.0.1"))


def test_what_is_allowed_can_be_hosts_ports_addresses_and_networks():
    some = PrivateNetwork.parse("shop.corp, 10.0.0.0/8 [::1]:8080 127.0.0.1:8001")
    ten, loop = ipaddress.ip_address("10.9.9.9"), ipaddress.ip_address("127.0.0.1")
    assert some.allows("SHOP.corp.", 443, loop)
    assert some.allows("any.name", 443, ten)
    assert some.allows("127.0.0.1", 8001, loop)
    assert not some.allows("127.0.0.1", 8002, loop)
    assert not some.allows("other.corp", 443, loop)
    assert some.allows("::1", 8080, ipaddress.ip_address("::1"))


@pytest.mark.parametrize("text", ["http://shop.corp", "a b@c", "host:port"])
def test_an_entry_that_can_not_be_read_is_named(text):
    with pytest.raises(ValueError, match="is neither a host"):
        PrivateNetwork.parse(text)
