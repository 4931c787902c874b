"""Reads a capture of tcpdump: which connections there were, and what each side said first."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

TLS = b"\x16\x03"
TLS_DATA = (b"\x14\x03", b"\x15\x03", b"\x16\x03", b"\x17\x03")
SSL_REQUEST = bytes.fromhex("0000000804d2162f")
SYN, ACK = 0x02, 0x10
# Of bytes, in a connection that was open before the capture began: encrypted ones are printable in 37 of 100 cases.
MOSTLY = 0.7


@dataclass
class Connection:
    """One TCP connection: first bytes of the client and of the server, or a sample where its beginning was not seen."""

    client: tuple[str, int]
    server: tuple[str, int]
    begun: bool = False
    said: dict[bool, list[bytes]] = field(default_factory=lambda: {True: [], False: []})

    def kind(self) -> str:
        """How it speaks: TLS, SSH, PostgreSQL over TLS, http, silent, or clear text."""
        asked, answered = self.said[True], self.said[False]
        if not asked and not answered:
            return "silent"
        if not self.begun:
            sample = b"".join([*asked, *answered])
            printable = sum(32 <= byte < 127 for byte in sample) / len(sample)
            encrypted = any(part.startswith(TLS_DATA) for part in [*asked, *answered])
            return "TLS" if encrypted or printable < MOSTLY else "clear text"
        first = asked[0] if asked else answered[0]
        if first.startswith(TLS):
            return "TLS"
        if first.startswith(b"SSH-2.0"):
            return "SSH"
        if first.startswith(SSL_REQUEST) and len(asked) > 1 and answered[:1] == [b"S"] and asked[1].startswith(TLS):
            return "PostgreSQL over TLS"
        if first.startswith(SSL_REQUEST) and len(asked) == 1:
            return "silent"
        if self.server[1] == 80:
            return "http"
        return "clear text"


def packets(path: Path) -> Iterator[bytes]:
    """IPv4 packets of a capture on an Ethernet device."""
    with path.open("rb") as stream:
        head = stream.read(24)
        order = "<" if head[:4] == b"\xd4\xc3\xb2\xa1" else ">"
        while len(record := stream.read(16)) == 16:
            frame = stream.read(struct.unpack(order + "IIII", record)[2])
            if frame[12:14] == b"\x08\x00":
                yield frame[14:]


def address(octets: bytes) -> str:
    return ".".join(str(octet) for octet in octets)


def read(path: Path) -> tuple[list[Connection], dict[str, int]]:
    """All TCP connections, and how many packets of each other protocol."""
    known: dict[tuple[tuple[str, int], tuple[str, int]], Connection] = {}
    finished: list[Connection] = []
    others: dict[str, int] = {}
    for packet in packets(path):
        start, protocol = (packet[0] & 15) * 4, packet[9]
        packet = packet[: struct.unpack("!H", packet[2:4])[0]]
        if protocol != 6:
            port = f"/{struct.unpack('!H', packet[start + 2 : start + 4])[0]}" if protocol == 17 else ""
            others[f"{protocol}{port}"] = others.get(f"{protocol}{port}", 0) + 1
            continue
        source, target = struct.unpack("!HH", packet[start : start + 4])
        flags, payload = packet[start + 13], packet[start + (packet[start + 12] >> 4) * 4 :]
        here, there = (address(packet[12:16]), source), (address(packet[16:20]), target)
        if flags & SYN and not flags & ACK:
            if old := known.pop((here, there), None):
                finished.append(old)
            known[here, there] = Connection(here, there, begun=True)
            continue
        found = known.get((here, there)) or known.get((there, here))
        if found is None:
            # Begun before the capture: who listens has the lower port.
            client, server = (there, here) if source < target else (here, there)
            found = known[client, server] = Connection(client, server)
        if payload and len(kept := found.said[found.client == here]) < 8:
            kept.append(payload)
    return [*finished, *known.values()], others
