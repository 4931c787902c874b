from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret

import validate_env

SCRIPT = Path(__file__).parents[2] / "scripts" / "validate_env.py"
KEY = "kJ8s7dfjh2398hjsdf98h2345kjhsdf98h23kjhsdf98h2k3jhsdf"
GOOD = {
    "SECRET_KEY": KEY,
    "DEBUG": "0",
    "ALLOWED_HOSTS": "obcms.barmm.gov.ph,10.40.0.21",
    "CSRF_TRUSTED_ORIGINS": "https://obcms.barmm.gov.ph",
    "DATABASE_URL": "postgres://obcms:geheim@db:5432/obcms",
    "REDIS_URL": "redis://:geheim@redis:6379/0",
    "CELERY_BROKER_URL": "redis://:geheim@redis:6379/1",
    "CELERY_RESULT_BACKEND": "redis://:geheim@redis:6379/2",
    "EMAIL_HOST": "mail.barmm.gov.ph",
    "DEFAULT_FROM_EMAIL": "OBCMS <noreply@barmm.gov.ph>",
    "BASE_URL": "https://obcms.barmm.gov.ph",
    "DJANGO_SETTINGS_MODULE": "obcms.settings.production",
}


def env_file(folder: Path, **changes: str | None) -> Path:
    target = folder / ".env.production"
    values = {**GOOD, **changes}
    target.write_text("".join(f"{name}={value}\n" for name, value in values.items() if value is not None))
    return target


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False, env={**os.environ, **environment})


def test_a_good_file_passes(tmp_path: Path) -> None:
    done = run(str(env_file(tmp_path)))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path}/.env.production: 12 variables, no problem\n"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"SECRET_KEY": "short"}, "SECRET_KEY has 5 characters, but 50 or more are needed; let bin/secrets generate it"),
        (
            {"SECRET_KEY": "django-insecure-" + KEY},
            "SECRET_KEY begins with django-insecure, which Django gives to development projects; let bin/secrets generate it",
        ),
        ({"SECRET_KEY": "ab" * 30}, "SECRET_KEY has 2 different characters, but 5 or more are needed; let bin/secrets generate it"),
        ({"SECRET_KEY": "change-me" + KEY}, "SECRET_KEY still holds a placeholder; put the real value there"),
        ({"SECRET_KEY": None}, "SECRET_KEY is missing; set it"),
        ({"DEBUG": "True"}, "DEBUG is 'True', but a public server must not show its errors; set it to 0"),
        ({"DEBUG": ""}, "DEBUG is '', but a public server must not show its errors; set it to 0"),
        ({"ALLOWED_HOSTS": ""}, "ALLOWED_HOSTS is empty, but Django then answers every request with 400; list the names of the platform"),
        ({"ALLOWED_HOSTS": "*"}, "ALLOWED_HOSTS holds '*', which accepts forged Host headers; list the names of the platform"),
        (
            {"ALLOWED_HOSTS": "https://obcms.barmm.gov.ph"},
            "ALLOWED_HOSTS holds 'https://obcms.barmm.gov.ph', but host names have no scheme and no path; write 'obcms.barmm.gov.ph'",
        ),
        (
            {"CSRF_TRUSTED_ORIGINS": "obcms.barmm.gov.ph"},
            "CSRF_TRUSTED_ORIGINS holds 'obcms.barmm.gov.ph', but origins need a scheme (Django documentation, CSRF_TRUSTED_ORIGINS); "
            "write 'https://obcms.barmm.gov.ph'",
        ),
        (
            {"CSRF_TRUSTED_ORIGINS": "https://a.ph/login"},
            "CSRF_TRUSTED_ORIGINS holds 'https://a.ph/login', but an origin is scheme and host only; write 'https://a.ph'",
        ),
        (
            {"CSRF_TRUSTED_ORIGINS": " "},
            "CSRF_TRUSTED_ORIGINS is empty, but every form would then answer 403; list the platform's address with https://",
        ),
        (
            {"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"},
            "EMAIL_BACKEND is 'django.core.mail.backends.console.EmailBackend', which delivers no mail; "
            "set it to django.core.mail.backends.smtp.EmailBackend",
        ),
        ({"EMAIL_HOST": ""}, "EMAIL_HOST is empty; set it"),
        ({"EMAIL_HOST": None}, "EMAIL_HOST is missing; set it"),
        ({"EMAIL_PORT": "smtp"}, "EMAIL_PORT is 'smtp', but must be a port number; set it to 25, 465 or 587"),
        ({"DEFAULT_FROM_EMAIL": "OBCMS"}, "DEFAULT_FROM_EMAIL is 'OBCMS', but must hold a mail address; write it like noreply@barmm.gov.ph"),
        (
            {"BASE_URL": "http://obcms.barmm.gov.ph"},
            "BASE_URL is 'http://obcms.barmm.gov.ph', but must be the platform's address with https://; write it like https://obcms.barmm.gov.ph",
        ),
        ({"LOG_LEVEL": "verbose"}, "LOG_LEVEL is 'verbose', but must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL; set it to INFO"),
        ({"METRICS_TOKEN": "abc"}, "METRICS_TOKEN has 3 characters, but 20 or more are needed; let bin/secrets generate it"),
        (
            {"ADMIN_IP_WHITELIST": "10.0.0.0/8,office"},
            "ADMIN_IP_WHITELIST holds 'office', but must list addresses or networks; write it like 192.0.2.0/24",
        ),
        (
            {"DJANGO_SETTINGS_MODULE": "obcms.settings.development"},
            "DJANGO_SETTINGS_MODULE is 'obcms.settings.development', which is not made for production; name the production settings",
        ),
        (
            {"DJANGO_SETTINGS_MODULE": "obcms/settings.py"},
            "DJANGO_SETTINGS_MODULE is 'obcms/settings.py', but must be a dotted Python name; write it like obcms.settings",
        ),
        (
            {"DATABASE_URL": "mysql://u:p@db/x"},
            "DATABASE_URL has the scheme 'mysql', but must have postgres or postgresql; correct the beginning of the URL",
        ),
        ({"DATABASE_URL": "postgres:///x"}, "DATABASE_URL names no host; write it like scheme://user:password@host/name"),
        ({"REDIS_URL": "redis://[::1"}, "REDIS_URL cannot be read as a URL; percent-encode special characters of the password"),
        ({"REDIS_URL": "redis://:${REDIS_PASSWORD}@redis:6379/0"}, "REDIS_URL still holds a placeholder; put the real value there"),
        (
            {"CELERY_BROKER_URL": "amqp://mq"},
            "CELERY_BROKER_URL has the scheme 'amqp', but must have redis or rediss; correct the beginning of the URL",
        ),
        ({"EMAIL_HOST": "<your mail host>"}, "EMAIL_HOST still holds a placeholder; put the real value there"),
    ],
)
def test_every_rule_fires_alone(tmp_path: Path, changes: dict[str, str | None], message: str) -> None:
    done = run(str(env_file(tmp_path, **changes)))
    assert done.returncode == 1
    assert done.stdout.splitlines()[:-1] == [message]


def test_empty_optional_values_pass(tmp_path: Path) -> None:
    assert run(str(env_file(tmp_path, ADMIN_IP_WHITELIST="", EMAIL_HOST_USER="", DATABASE_REPLICA_URL=""))).returncode == 0


def test_all_problems_come_at_once_and_no_secret_is_shown(tmp_path: Path) -> None:
    done = run(str(env_file(tmp_path, SECRET_KEY="geheim", DEBUG="1", DATABASE_URL="mysql://u:geheim@db/x")))
    assert done.stdout.splitlines()[-1].endswith(": 3 problem(s) in 12 variables")
    assert "geheim" not in done.stdout + done.stderr


def test_json(tmp_path: Path) -> None:
    path = env_file(tmp_path, DEBUG="1")
    assert json.loads(run(str(path), "--json").stdout) == {
        "file": str(path),
        "ok": False,
        "variables": 12,
        "problems": ["DEBUG is '1', but a public server must not show its errors; set it to 0"],
        "left_behind": ["DEBUG", "CSRF_TRUSTED_ORIGINS", "DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "BASE_URL"],
        "written": [],
    }


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("export A=b", "b"),
        ("A = b ", "b"),
        ('A="b c"', "b c"),
        ("A='b # c'", "b # c"),
        ("A=b#c", "b#c"),
        ("A=b # c", "b"),
        ('A="b" # c', "b"),
        ('A="say \\"hi\\""', 'say "hi"'),
        ("A='x\\n'", "x\\n"),
        ("A=", ""),
        ("A==", "="),
    ],
)
def test_lines_as_docker_compose_reads_them(line: str, value: str) -> None:
    assert validate_env.parse(f"# comment\n\n{line}\n") == ({"A": value}, [])


def test_a_byte_order_mark_is_no_part_of_the_first_name() -> None:
    assert validate_env.parse("\ufeffA=b") == ({"A": "b"}, [])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nonsense", "line 1 is no NAME=value; correct or remove it"),
        ("A=1\nA=2", "line 2: A is set a second time; keep one of the two lines"),
        ('A="b', "line 1: A has a quote that is not closed; close it"),
        ("A='b' c", "line 1: A has text after the closing quote; remove it"),
    ],
)
def test_lines_that_are_wrong(text: str, problem: str) -> None:
    assert validate_env.parse(text)[1] == [problem]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/nowhere/.env"], "cannot read '/nowhere/.env': No such file or directory; give the path of an env file"),
        (["/"], "cannot read '/': Is a directory; give the path of an env file"),
        (["/dev/null"], "'/dev/null' holds no variable; give the path of an env file"),
        ([], "the following arguments are required: FILE"),
        ([sys.executable], f"{sys.executable!r} is no text in UTF-8; give the path of an env file"),
    ],
)
def test_nonsense_gets_one_line_and_status_2(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"validate_env: {message}\n")


def test_an_inventory_that_is_not_there(tmp_path: Path) -> None:
    done = run(str(env_file(tmp_path)), "--to-inventory", "/nowhere")
    assert (done.returncode, done.stderr) == (2, "validate_env: inventory '/nowhere' is no folder; give one like inventories/prod\n")


def decrypted(path: Path) -> Any:
    assert path.read_text().startswith("$ANSIBLE_VAULT;")
    assert path.stat().st_mode & 0o777 == 0o600
    return yaml.safe_load(VaultLib([("x", VaultSecret(b"open sesame"))]).decrypt(path.read_bytes()))


def test_a_team_moves_from_docker_compose(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("open sesame\n")
    inventory = tmp_path / "moving"
    inventory.mkdir()
    path = env_file(
        tmp_path, METRICS_TOKEN="t" * 10 + KEY[:20], LOG_LEVEL="WARNING", EMAIL_HOST_PASSWORD="'p#ss'", GEO_KEY="abc", POSTGRES_PASSWORD="geheim"
    )
    done = run(str(path), "--to-inventory", str(inventory), VAULT_PASSWORD_FILE_moving=str(tmp_path / "password"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "left behind, because the platform has its own: DEBUG, CSRF_TRUSTED_ORIGINS, DATABASE_URL" in done.stdout
    assert decrypted(inventory / "group_vars/all/environment.yml") == {
        "platform_domain": "obcms.barmm.gov.ph",
        "platform_public_url": "https://obcms.barmm.gov.ph",
        "runtime_allowed_hosts": ["obcms.barmm.gov.ph", "10.40.0.21"],
        "runtime_settings_module": "obcms.settings.production",
        "runtime_log_level": "WARNING",
        "runtime_mail": {"EMAIL_HOST": "mail.barmm.gov.ph", "DEFAULT_FROM_EMAIL": "OBCMS <noreply@barmm.gov.ph>", "EMAIL_HOST_PASSWORD": "p#ss"},
        "runtime_environment": {"GEO_KEY": "abc"},
    }
    assert decrypted(inventory / "group_vars/all/secrets.yml") == {"app_secret_key": KEY, "app_metrics_token": "t" * 10 + KEY[:20]}


def test_a_bad_file_is_not_written(tmp_path: Path) -> None:
    done = run(str(env_file(tmp_path, DEBUG="1")), "--to-inventory", str(tmp_path))
    assert done.returncode == 1
    assert "nothing was written" in done.stdout
    assert not (tmp_path / "group_vars").exists()


def test_secrets_that_are_there_stay(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("open sesame\n")
    folder = tmp_path / "moving" / "group_vars" / "all"
    folder.mkdir(parents=True)
    secret = VaultSecret(b"open sesame")
    (folder / "secrets.yml").write_bytes(VaultLib([("moving", secret)]).encrypt("app_secret_key: old\nredis_app_password: kept\n", secret))
    environment = {"VAULT_PASSWORD_FILE_moving": str(tmp_path / "password")}
    assert run(str(env_file(tmp_path)), "--to-inventory", str(tmp_path / "moving"), **environment).returncode == 0
    assert decrypted(folder / "secrets.yml") == {"app_secret_key": KEY, "redis_app_password": "kept"}
    (tmp_path / "password").write_text("another\n")
    done = run(str(env_file(tmp_path)), "--to-inventory", str(tmp_path / "moving"), **environment)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
