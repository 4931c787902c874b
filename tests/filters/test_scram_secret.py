"""scram_secret: what PostgreSQL would accept and a client could prove."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from ansible.errors import AnsibleFilterError

from scram_secret import scram_secret


def proves(password: str, secret: str) -> bool:
    """Whether a client with the password passes, after RFC 5802: the stored key is the hash of the client key."""
    _, counts, keys = secret.split("$")
    iterations, salt = counts.split(":")
    stored, server = keys.split(":")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(iterations))
    client = hmac.new(salted, b"Client Key", "sha256").digest()
    right_server = hmac.new(salted, b"Server Key", "sha256").digest() == base64.b64decode(server)
    return hashlib.sha256(client).digest() == base64.b64decode(stored) and right_server


def test_the_password_passes_and_no_other() -> None:
    secret = scram_secret("correct horse", "obcms_app")
    assert proves("correct horse", secret)
    assert not proves("correct Horse", secret)


def test_is_stable_and_differs_by_role_and_password() -> None:
    assert scram_secret("a", "r") == scram_secret("a", "r")
    assert len({scram_secret(p, r) for p in ("a", "b") for r in ("r", "s")}) == 4


def test_is_known_to_rfc_7677_shape() -> None:
    kind, counts, keys = scram_secret("x", "y").split("$")
    assert kind == "SCRAM-SHA-256"
    assert counts.startswith("4096:")
    assert [len(base64.b64decode(part)) for part in (counts.split(":")[1], *keys.split(":"))] == [16, 32, 32]


@pytest.mark.parametrize(("password", "role"), [("", "r"), (None, "r"), ("p", ""), ("pässword", "r"), (7, "r")])
def test_nonsense_is_refused_by_name(password: object, role: object) -> None:
    with pytest.raises(AnsibleFilterError, match="scram_secret"):
        scram_secret(password, role)
