#!/usr/bin/env python3
"""Whether every hop refuses a peer whose certificate is of another authority, expired, or for another name, and takes the right one."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor

from cryptography import x509

from failover import DATABASE_HOSTS, leader
from report import Series, lab, on, write
from security.hops import BY_ACCOUNT, BY_AUTHORITY, CLIENTS, HOLDERS, NOT_ASKED, Knock, Meet, knocks, meets
from security.vault import KINDS, certificates, forged, issuer_of, lab_secrets

AT = {host["name"]: host["address"] for host in lab.wanted_hosts()}
# Shows a certificate to whoever comes. Only a client that took it goes on to speak; one that did not says so, or leaves.
ROGUE = """
import socket, ssl, sys, time
door, greeting = sys.argv[1], sys.argv[2].encode().decode("unicode_escape").encode()
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[3], sys.argv[4])
context.set_alpn_protocols(["h2", "http/1.1"])
listener = socket.create_server(("127.0.0.1", int(door)))
listener.settimeout(1)
print("open", flush=True)
spoke, end = "refused", time.time() + 9
while time.time() < end and spoke == "refused":
    try:
        bare, _ = listener.accept()
    except TimeoutError:
        continue
    try:
        bare.settimeout(3)
        if greeting == b"postgres":
            # GSSAPI first, if it wants that; then TLS.
            while bare.recv(8)[4:] == bytes.fromhex("04d21630"):
                bare.sendall(b"N")
            bare.sendall(b"S")
        client = context.wrap_socket(bare, server_side=True)
        if greeting not in (b"", b"postgres"):
            client.sendall(greeting)
        if client.recv(1):
            spoke = "accepted"
    except OSError:
        pass
    finally:
        bare.close()
print(spoke, flush=True)
"""


def files(hop: Knock | Meet, folder: str, kind: str, name: str, ip: str, user: str = "root") -> str:
    """Shell text that puts a certificate and its key into a folder of their own."""
    pair = forged(kind, name, hop.dns, (ip,), hop.authority, hop.by_name)
    return (
        f"export DIR={folder} KIND='{kind}' CRT={folder}/p.crt KEY={folder}/p.key; rm -rf $DIR; mkdir -p $DIR; umask 077\n"
        f"cat >$CRT <<'EOF'\n{pair.certificate}EOF\ncat >$KEY <<'EOF'\n{pair.key}EOF\n"
        f"chmod 755 $DIR; chmod 644 $CRT; chown {user} $KEY; trap 'rm -rf $DIR' EXIT; umask 022\n"
    )


def knock(hop: Knock, kind: str, folder: str) -> bool:
    """Whether the server served the client."""
    script = f"if {{ {hop.ask}; }} >/dev/null 2>&1; then echo accepted; else echo refused; fi"
    return on(hop.host, files(hop, folder, kind, hop.name, AT[hop.host], hop.user) + script).endswith("accepted")


def meet(hop: Meet, kind: str, folder: str, port: int) -> bool:
    """Whether the client went on to speak to the server."""
    script = (
        f"export PORT={port}\n{files(hop, folder, kind, 'peer', '127.0.0.1')}{CLIENTS}\ncat >$DIR/rogue.py <<'EOF'\n{ROGUE}\nEOF\n"
        f"python3 $DIR/rogue.py {port} '{hop.greeting}' $CRT $KEY >/run/said-{port} & rogue=$!\n"
        f"until grep -q open /run/said-{port}; do sleep 0.2; done\n"
        f"( {hop.call} ) >/dev/null 2>&1 </dev/null; wait $rogue; tail -n 1 /run/said-{port}; rm -f /run/said-{port}"
    )
    return on(hop.host, script).endswith("accepted")


def judge(number: int, hop: Knock | Meet) -> Series:
    """All kinds of certificates at one hop."""
    series = Series(hop.hop, 0, "wrong")
    for place, kind in enumerate(KINDS):
        folder, port = f"/run/peer-{number}-{place}", 24600 + 4 * number + place
        taken = knock(hop, kind, folder) if isinstance(hop, Knock) else meet(hop, kind, folder, port)
        wrong = taken != (kind == "right")
        series.values.append(float(wrong))
        if wrong:
            series.failures.append(f"a peer whose certificate is {kind} was {'accepted' if taken else 'refused'}")
    print(series.row(), *series.failures, flush=True)
    return series


def holders(authority: str) -> Series:
    """Whether the hosts that hold a certificate of an authority are those that have to, and no others."""
    series = Series(f"who holds certificates of {authority}", 0, "wrong")
    groups = lab.inventory()
    wanted = {host for group in HOLDERS[authority] for host in groups[group]["hosts"]}
    for host in AT:
        found = [name for name, text in certificates(host).items() if issuer_of(x509.load_pem_x509_certificate(text.encode())) == authority]
        wrong = bool(found) != (host in wanted)
        series.values.append(float(wrong))
        if wrong:
            series.failures.append(f"{host} has {', '.join(found) or 'none'}")
    print(series.row(), *series.failures, flush=True)
    return series


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="hops whose name contains this text (default: all, and the page is written)")
    options = parser.parse_args()
    first = leader()
    replica = next(host for host in DATABASE_HOSTS if host != first)
    hops: list[Knock | Meet] = [*knocks(lab_secrets(), AT, first, replica), *meets(on("db1", "pgbackrest version").split()[-1], replica)]
    chosen = [hop for hop in hops if options.only in hop.hop]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(judge, range(len(chosen)), chosen))
        results += pool.map(holders, [each for each in HOLDERS if options.only in f"who holds certificates of {each}"])
    if options.only:
        return 0 if all(series.passed for series in results) else 1
    notes = [
        "Four certificates at each hop: the right one, which must be taken; one of another authority; an expired one; one of ours for another name.",
        "A hop named after a service is asked by a client that shows the certificate; one with `meets` is the real client, with the options it "
        "really has, sent to a server that shows it.",
        BY_ACCOUNT,
        BY_AUTHORITY,
        *NOT_ASKED,
    ]
    return write("peers", __doc__ or "", results, notes)


if __name__ == "__main__":
    sys.exit(main())
