"""How the doctor gets through to a server, and what it says where it does not."""

import socket
import ssl
from dataclasses import dataclass

from cryptography import x509

_SECONDS = 5.0


@dataclass(frozen=True)
class Address:
    """Where the SuperLink is."""

    host: str
    port: int

    def connect(self) -> socket.socket:
        """Open a connection, or raise OSError."""
        return socket.create_connection((self.host, self.port), timeout=_SECONDS)

    def __str__(self) -> str:
        """As it is written on the command line."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(superlink: str) -> Address | None:
    """Split HOST:PORT, with brackets around an IPv6 address; None if it is something else."""
    host, colon, port = superlink.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    if not colon or not bare or set(bare) & set("/@ []") or (":" in bare and not bracketed):
        return None
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        return None
    return Address(bare, int(port))


def reach(address: Address) -> str:
    """Open and close a connection; return what went wrong, or nothing."""
    ask = f"Is the SuperLink running, and is {address.port} its port (--port)?"
    try:
        address.connect().close()
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a name"
        return f"{address.host} has no address ({reason}). Check the name, or the DNS."
    except ConnectionRefusedError:
        return f"{address} refuses connections: nothing listens there. {ask}"
    except TimeoutError:
        return (
            f"{address} did not answer within {_SECONDS:g} s. A firewall may drop the packets: "
            f"let this machine connect to TCP port {address.port}, or check the address."
        )
    except OSError as error:
        return f"{address} cannot be reached ({error.strerror}). Check the network and the route."
    return ""


def look(address: Address) -> tuple[x509.Certificate, str] | str:
    """Return the server's certificate and Date header, trusting nobody; or what went wrong."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            address.connect() as plain,
            context.wrap_socket(plain, server_hostname=address.host) as tls,
        ):
            certificate = tls.getpeercert(binary_form=True)
            date = _ask_date(address, tls)
    except TimeoutError:
        return (
            f"{address} takes connections, but did not answer in TLS within {_SECONDS:g} s. Is it "
            "another service's port?"
        )
    except OSError as error:  # ssl.SSLError is one
        if _speaks_plain_http(address):
            return (
                f"{address} speaks plain HTTP, without TLS: the SuperLink runs with --insecure. "
                "Have it started with --ssl-certfile, --ssl-keyfile and --ssl-ca-certfile."
            )
        reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
        return f"{address} takes connections, but not in TLS ({reason}). Is the port right?"
    return x509.load_der_x509_certificate(certificate or b""), date


def _ask_date(address: Address, connection: socket.socket) -> str:
    """Return the Date header of the answer to a request for nothing, or ""."""
    try:
        connection.sendall(
            f"HEAD / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head and len(head) < 65536 and (got := connection.recv(4096)):
            head += got
    except OSError:
        return ""
    for line in head.decode("latin-1").splitlines():
        name, _, value = line.partition(":")
        if name.lower() == "date":
            return value.strip()
    return ""


def _speaks_plain_http(address: Address) -> bool:
    try:
        with address.connect() as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return connection.recv(5) == b"HTTP/"
    except OSError:
        return False
