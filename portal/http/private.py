"""Which part of the private network may be called: `PORTAL_ALLOW_PRIVATE_NETWORK`, read and asked."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NOTHING = {"", "0", "no", "false", "off"}
_EVERYTHING = {"1", "yes", "true", "on", "all", "*"}


@dataclass(frozen=True)
class PrivateNetwork:
    """The private hosts and networks that apps may live on. Plain http is allowed there, and only there."""

    everything: bool = False
    hosts: frozenset[tuple[str, int | None]] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> PrivateNetwork:
        """Read nothing, `true`, or hosts, host:port pairs, addresses and CIDR networks, parted by commas or spaces.

        Raises ValueError with a sentence that names the entry that can't be read.
        """
        if text.strip().lower() in _NOTHING:
            return cls()
        if text.strip().lower() in _EVERYTHING:
            return cls(everything=True)
        hosts: set[tuple[str, int | None]] = set()
        networks: list[Network] = []
        for entry in text.replace(",", " ").split():
            try:
                networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                hosts.add(_host_and_port(entry))
        return cls(hosts=frozenset(hosts), networks=tuple(networks))

    def allows(self, host: str, port: int, address: Address) -> bool:
        """Whether `host`:`port`, which resolved to `address`, is one of them."""
        name = host.lower().rstrip(".")
        if self.everything or (name, None) in self.hosts or (name, port) in self.hosts:
            return True
        return any(address.version == network.version and address in network for network in self.networks)


def _host_and_port(entry: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(f"//{entry}")
        if parts.hostname and not parts.path and "@" not in entry:
            return parts.hostname.rstrip("."), parts.port
    except ValueError:
        pass
    raise ValueError(f"“{entry}” is neither a host, nor host:port, nor a network such as 10.0.0.0/8")
