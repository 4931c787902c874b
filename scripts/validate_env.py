#!/usr/bin/env python3
"""Checks an existing .env.production by the rules of preflight, and moves it into an inventory.

  python scripts/validate_env.py .env.production
  python scripts/validate_env.py .env.production --json
  python scripts/validate_env.py .env.production --to-inventory inventories/prod

--to-inventory writes INVENTORY/group_vars/all/environment.yml and the two keys of secrets.yml, both encrypted by ansible-vault. Addresses and
passwords of database and cache stay behind: the platform has its own.
Exit status: 0, 1 when the file breaks a rule, 2 on nonsense input. Values of secrets are never shown.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))
from environment_rules import environment_problems, items

LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)", re.DOTALL)
# Secrets that bin/secrets would else generate: sessions and scrapers of the running platform depend on them.
TO_SECRETS = {"SECRET_KEY": "app_secret_key", "METRICS_TOKEN": "app_metrics_token"}
LISTS = {"ALLOWED_HOSTS": "runtime_allowed_hosts", "ADMIN_IP_WHITELIST": "runtime_admin_networks"}
TEXTS = {"LOG_LEVEL": "runtime_log_level", "DJANGO_SETTINGS_MODULE": "runtime_settings_module"}
# Computed from the inventory; a Compose file's service names mean nothing there.
LEFT_BEHIND = re.compile(
    r"DEBUG|BASE_URL|CSRF_TRUSTED_ORIGINS|DATABASE_(REPLICA_)?URL|REDIS_.*|CELERY_(BROKER_URL|RESULT_BACKEND)|POSTGRES_.*|DB_.*|PG[A-Z]+|GUNICORN_.*|"
    r"COMPOSE_.*|PGBOUNCER_.*"
)


def fail(message: str) -> NoReturn:
    print(f"validate_env: {message}", file=sys.stderr)
    raise SystemExit(2)


def unquoted(text: str) -> tuple[str, str | None]:
    """Value of one line as Docker Compose reads it, and what is wrong with it."""
    text = text.strip()
    if text[:1] in ("'", '"'):
        quote = text[0]
        end = text.find(quote, 1)
        while quote == '"' and end > 0 and text[end - 1] == "\\":
            end = text.find(quote, end + 1)
        if end < 0:
            return text[1:], "has a quote that is not closed; close it"
        rest = text[end + 1 :].strip()
        value = text[1:end]
        if quote == '"':
            value = value.replace('\\"', '"').replace("\\n", "\n").replace("\\\\", "\\")
        return value, None if not rest or rest.startswith("#") else "has text after the closing quote; remove it"
    return re.split(r"\s+#", text, maxsplit=1)[0].strip(), None


def parse(text: str) -> tuple[dict[str, str], list[str]]:
    """Variables of an env file, and lines that are none."""
    values: dict[str, str] = {}
    problems = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = LINE.fullmatch(line)
        if not found:
            problems.append(f"line {number} is no NAME=value; correct or remove it")
            continue
        name = found.group(1)
        value, wrong = unquoted(found.group(2))
        if wrong:
            problems.append(f"line {number}: {name} {wrong}")
        if name in values:
            problems.append(f"line {number}: {name} is set a second time; keep one of the two lines")
        values[name] = value
    return values, problems


def as_variables(environment: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """Inventory variables, secrets, and names that stay behind."""
    variables: dict[str, Any] = {}
    mail: dict[str, str] = {}
    further: dict[str, str] = {}
    left = []
    address = urlsplit(environment.get("BASE_URL", ""))
    if address.hostname:
        variables["platform_domain"] = address.hostname
        variables["platform_public_url"] = f"{address.scheme}://{address.netloc}"
    for name, value in environment.items():
        if name in TO_SECRETS:
            continue
        if name in LISTS:
            variables[LISTS[name]] = items(value)
        elif name in TEXTS:
            variables[TEXTS[name]] = value
        elif name.startswith("EMAIL_") or name in ("DEFAULT_FROM_EMAIL", "SERVER_EMAIL"):
            mail[name] = value
        elif LEFT_BEHIND.fullmatch(name):
            left.append(name)
        else:
            further[name] = value
    if mail:
        variables["runtime_mail"] = mail
    if further:
        variables["runtime_environment"] = further
    return variables, {variable: environment[name] for name, variable in TO_SECRETS.items() if environment.get(name)}, left


def write_encrypted(inventory: Path, variables: Mapping[str, Any], secrets: Mapping[str, str]) -> list[Path]:
    """Both files, encrypted with the inventory's vault password; other secrets that are there stay as they are."""
    import yaml
    from ansible.parsing.vault import AnsibleVaultError, VaultLib, VaultSecret

    import secrets_file

    secret = VaultSecret(secrets_file.password_file(inventory.resolve().name).read_bytes().strip())
    vault = VaultLib([(inventory.resolve().name, secret)])
    folder = inventory / "group_vars" / "all"
    written = []
    for name, new in (("environment.yml", dict(variables)), ("secrets.yml", dict(secrets))):
        target = folder / name
        old: dict[str, Any] = {}
        if name == "secrets.yml" and target.exists():
            try:
                old = yaml.safe_load(vault.decrypt(target.read_bytes())) or {}
            except AnsibleVaultError as error:
                fail(f"{target} cannot be decrypted: {' '.join(str(error).split())}; check the vault password of {inventory.resolve().name}")
        if not new:
            continue
        try:
            folder.mkdir(parents=True, exist_ok=True)
            text = vault.encrypt(yaml.safe_dump({**old, **new}, sort_keys=True), secret, vault_id=inventory.resolve().name)
            secrets_file.write_private(target, text.decode())
        except OSError as error:
            fail(f"cannot write {target}: {error.strerror}; check its owner and mode")
        written.append(target)
    return written


class Parser(argparse.ArgumentParser):
    """Errors in one clear line."""

    def error(self, message: str) -> NoReturn:
        fail(message)


def read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        fail(f"cannot read {path!r}: {error.strerror}; give the path of an env file")
    except UnicodeDecodeError:
        fail(f"{path!r} is no text in UTF-8; give the path of an env file")


def main(argv: Sequence[str]) -> int:
    parser = Parser(prog="validate_env.py", description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("file", metavar="FILE", help="env file, such as .env.production")
    parser.add_argument("--to-inventory", metavar="INV", help="write it into this inventory's group_vars, encrypted")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    options = parser.parse_args(argv)
    environment, problems = parse(read(options.file))
    if not environment and not problems:
        fail(f"{options.file!r} holds no variable; give the path of an env file")
    problems += environment_problems(environment)
    variables, secrets, left = as_variables(environment)
    written: list[Path] = []
    if options.to_inventory and not Path(options.to_inventory).is_dir():
        fail(f"inventory {options.to_inventory!r} is no folder; give one like inventories/prod")
    if options.to_inventory and not problems:
        written = write_encrypted(Path(options.to_inventory), variables, secrets)
    if options.json:
        result = {"file": options.file, "ok": not problems, "variables": len(environment), "problems": problems, "left_behind": left}
        print(json.dumps({**result, "written": [str(path) for path in written]}, indent=2))
        return 1 if problems else 0
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    red, green, plain = ("\033[31m", "\033[32m", "\033[0m") if colour else ("", "", "")
    for problem in problems:
        print(f"{red}{problem}{plain}")
    if problems:
        print(
            f"{options.file}: {len(problems)} problem(s) in {len(environment)} variables" + ("; nothing was written" if options.to_inventory else "")
        )
        return 1
    print(f"{green}{options.file}: {len(environment)} variables, no problem{plain}")
    for path in written:
        print(f"written, encrypted: {path}")
    if written and left:
        print(f"left behind, because the platform has its own: {', '.join(left)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
