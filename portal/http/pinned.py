"""The transport: addresses are checked and pinned (requests-hardened), and a call's socket can be cut from outside."""

from __future__ import annotations

import ipaddress
import socket
import threading
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests_hardened.ip_filter import InvalidIPAddress
from requests_hardened.ip_filter_adapter import IPFilterAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from portal.http.private import PrivateNetwork

# All that IPv6 gives out to the world (RFC 4291, section 2.4); what was, or will be, anything else lies beside it.
_PUBLIC = ipaddress.ip_network("2000::/3")


class PlainHttp(requests.RequestException):
    """The URL says http:// and its host is not on an allowed private network."""


class Line:
    """One call's connection as seen from outside: `cut` ends it, whatever the other side does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taps: list[socket.socket] = []
        self.is_cut = False

    def tap(self, sock: socket.socket) -> None:
        """Keep a second handle: the first one is taken over when TLS begins."""
        with self._lock:
            self._taps.append(sock.dup())
            if self.is_cut:
                _shut(self._taps[-1])

    def cut(self) -> None:
        """End the connection now; whoever waits for it is woken."""
        with self._lock:
            self.is_cut = True
            for tap in self._taps:
                _shut(tap)

    def close(self) -> None:
        """Let go of the handles."""
        with self._lock:
            for tap in self._taps:
                tap.close()
            self._taps.clear()


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it has ended by itself


_calling = threading.local()


class _TappedHTTP(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        _calling.line.tap(sock)
        return sock


class _TappedHTTPS(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        _calling.line.tap(sock)
        return sock


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _TappedHTTP


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _TappedHTTPS


class _Tapped(HTTPAdapter):
    """Gives each new connection to the call's `Line`."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}


class _Checked(_Tapped, IPFilterAdapter):  # type: ignore[misc]  # untyped library
    """Refuses private addresses and plain http, except where `private` allows them; connects to what was checked."""

    def __init__(self, *, is_https: bool, private: PrivateNetwork) -> None:
        self._private = private
        super().__init__(is_https_proto=is_https)  # type: ignore[call-arg]

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        host_params, pool_kwargs = HTTPAdapter.build_connection_pool_key_attributes(self, request, verify, cert)
        name, port = host_params["host"], host_params["port"] or (443 if self._is_https_proto else 80)
        try:
            host_params, pool_kwargs = super().build_connection_pool_key_attributes(request, verify, cert)
        except InvalidIPAddress as private:
            address = private.args[0]
            if not self._private.allows(name, port, address):
                raise
            host_params["host"] = f"[{address}]" if address.version == 6 else str(address)
            if self._is_https_proto:
                pool_kwargs |= {"assert_hostname": name, "server_hostname": name}  # type: ignore[misc]
        else:
            address = ipaddress.ip_address(host_params["host"].strip("[]"))
            if address.version == 6 and address not in _PUBLIC and not self._private.allows(name, port, address):
                raise InvalidIPAddress(address)
            if not self._is_https_proto and not self._private.allows(name, port, address):
                raise PlainHttp
        return host_params, pool_kwargs


class _Session(requests.Session):
    """Looks at no redirect at all: requests would read the whole body of one, and stumble over an odd Location."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def session_on(line: Line, private: PrivateNetwork | None) -> requests.Session:
    """A session for one call on `line`, made and used in one thread. `private` None: the operator's own URL."""
    _calling.line = line
    session = _Session()
    session.trust_env = False  # no proxies, and no .netrc that would take the place of our Authorization
    for scheme in ("http", "https"):
        adapter = _Tapped() if private is None else _Checked(is_https=scheme == "https", private=private)
        session.mount(f"{scheme}://", adapter)
    return session
