"""bin/secrets: what is missing is made, what is asked for is changed, the application's accounts alternate."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT / "scripts"))
import secrets_file  # noqa: E402


@pytest.fixture
def values() -> dict[str, Any]:
    made: dict[str, Any] = {}
    secrets_file.complete(made, "test")
    return made


def test_what_is_there_stays(values: dict[str, Any]) -> None:
    before = dict(values)
    values.pop("redis_app_password")
    assert secrets_file.complete(values, "test") == ["redis_app_password"]
    assert {name: value for name, value in values.items() if name != "redis_app_password"} == {
        name: value for name, value in before.items() if name != "redis_app_password"
    }


def test_authorities_have_names_of_their_own_and_keys_under_the_passphrase(values: dict[str, Any]) -> None:
    authorities = [(values["pki_ca_private_key"], values["pki_ca_certificate"])]
    authorities += [(each["private_key"], each["certificate"]) for each in values["pki_authorities"].values()]
    names = set()
    for key, text in authorities:
        certificate = x509.load_pem_x509_certificate(text.encode())
        found = serialization.load_pem_private_key(key.encode(), values["pki_ca_passphrase"].encode())
        assert found.public_key() == certificate.public_key()
        names.add(certificate.subject.rfc4514_string())
    assert names == {"CN=test platform CA", "CN=test Patroni clients CA", "CN=test Redis CA", "CN=test Redis exporter clients CA"}


def test_a_missing_authority_is_made_and_the_others_stay(values: dict[str, Any]) -> None:
    before = dict(values["pki_authorities"])
    values["pki_authorities"] = {"redis": {**before["redis"], "former": ["x"]}, "patroni": {"former": ["y"]}}
    assert secrets_file.complete(values, "test") == ["pki_authorities.patroni", "pki_authorities.redis_exporter"]
    assert values["pki_authorities"]["redis"] == {**before["redis"], "former": ["x"]}
    assert values["pki_authorities"]["patroni"]["former"] == ["y"]
    del values["pki_authorities"]
    assert len(secrets_file.complete(values, "test")) == 3


def test_accounts_of_the_application_alternate_and_the_one_in_use_never_changes(values: dict[str, Any]) -> None:
    for account, changed in (("b", secrets_file.APP_PASSWORDS["b"]), ("a", secrets_file.APP_PASSWORDS["a"]), ("b", secrets_file.APP_PASSWORDS["b"])):
        before = dict(values)
        secrets_file.rotate(values, "app")
        assert values["app_credentials"] == account
        assert {name for name in values if before.get(name) != values[name]} == {*changed, "app_credentials"}


def test_one_password_is_changed_alone(values: dict[str, Any]) -> None:
    before = dict(values)
    assert secrets_file.rotate(values, "redis_replica_password") == ["redis_replica_password"]
    assert [name for name in values if before[name] != values[name]] == ["redis_replica_password"]


@pytest.mark.parametrize("name", ["pki_ca_private_key", "pki_ca_passphrase", "pki_authorities", "backup_cipher_password", "nonsense"])
def test_what_would_lose_data_is_not_changed(values: dict[str, Any], name: str) -> None:
    with pytest.raises(KeyError):
        secrets_file.rotate(values, name)


def test_the_file_is_changed_encrypted_and_unknown_names_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory = tmp_path / "inv"
    inventory.mkdir()
    (tmp_path / "password").write_text("geheim\n")
    monkeypatch.setenv("VAULT_PASSWORD_FILE_inv", str(tmp_path / "password"))
    script = [sys.executable, str(PROJECT / "scripts" / "secrets_file.py"), str(inventory)]
    assert subprocess.run(script, capture_output=True).returncode == 0
    target = inventory / "group_vars" / "all" / "secrets.yml"
    first = target.read_text()
    # Where the file is a link, the link stays and what it leads to changes.
    target.rename(tmp_path / "real.yml")
    target.symlink_to(tmp_path / "real.yml")
    done = subprocess.run([*script, "--rotate", "app"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "app_credentials" in done.stdout
    assert target.is_symlink()
    assert target.read_text() != first
    assert target.read_text().startswith("$ANSIBLE_VAULT")
    wrong = subprocess.run([*script, "--rotate", "nonsense"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "nonsense" in wrong.stderr
    assert subprocess.run([*script, "--turn", "app"], capture_output=True).returncode == 2
