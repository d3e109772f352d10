"""Under which names a server can be reached: what a certificate can be made for."""

import ipaddress
import re

_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_LONGEST = 253


def host_fault(host: str) -> str | None:
    """Say why no node could reach a server under `host`; `None` if one could.

    A node compares the name that it connects to with those in the certificate. What is neither an
    IP address nor a DNS name is equal to none.
    """
    if not host.strip():
        return "it is empty"
    if is_ip_address(host):
        return None
    if "://" in host or "/" in host:
        return "it is a URL; give the host alone, like fl.example.org"
    name, colon, port = host.rpartition(":")
    if is_ip_address(host.strip("[]")) or (colon and is_ip_address(name.strip("[]"))):
        return "give the IP address alone, without brackets and port"
    if colon and port.isdecimal():
        return f"give the host alone, without the port: {name}"
    labels = host.removeprefix("*.").split(".")
    if len(host) > _LONGEST or not all(_LABEL.fullmatch(label) for label in labels):
        return "it is neither a DNS name (in ASCII, without a dot at the end) nor an IP address"
    if labels[-1].isdecimal():
        return "it looks like an IP address and is none"
    return None


def is_ip_address(host: str) -> bool:
    """Tell whether a host is named by its IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return "%" not in host  # a zone means something on one machine alone
