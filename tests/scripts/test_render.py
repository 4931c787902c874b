from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
SCRIPT = PROJECT / "scripts" / "render.py"
GROUPS = {"app": "web1", "celery": "worker1", "postgres": "db1", "redis": "redis1", "etcd": "redis1", "sentinel": "redis1", "lb": "lb1"}
ADDRESSES = {"web1": "192.0.2.21", "worker1": "192.0.2.31", "db1": "192.0.2.41", "redis1": "192.0.2.51", "lb1": "192.0.2.11", "mon1": "192.0.2.61"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False, cwd=PROJECT)


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    children: dict[str, object] = {group: {"hosts": {host: {}}} for group, host in {**GROUPS, "monitoring": "mon1", "backup": "mon1"}.items()}
    hosts = {host: {"ansible_host": address} for host, address in ADDRESSES.items()}
    hosts["db1"] |= {"host_capacity": {"vcpus": 4, "memory_mb": 8192, "disk_gb": 100}, "postgres_settings": {"work_mem": "8MB"}}  # type: ignore[dict-item]
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": children, "hosts": hosts}}))
    return folder


@pytest.fixture(scope="module")
def rendered(inventory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("out") / "rendered"
    run(str(inventory), "--output", str(output))
    return output


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_bytes_twice(inventory: Path, rendered: Path, tmp_path: Path) -> None:
    run(str(inventory), "--output", str(tmp_path / "again"))
    assert content(tmp_path / "again") == content(rendered)


def test_files_have_the_sizes_of_the_host(rendered: Path) -> None:
    assert "default_pool_size = 50" in (rendered / "web1/files/etc/pgbouncer/pgbouncer.ini").read_text()
    sizes = yaml.safe_load((rendered / "db1/sizes.yml").read_text())
    assert sizes["host_capacity"] == {"vcpus": 4, "memory_mb": 8192, "disk_gb": 100}
    assert (sizes["postgres"]["shared_buffers"], sizes["postgres"]["work_mem"]) == ("2048MB", "8MB")
    assert yaml.safe_load((rendered / "web1/sizes.yml").read_text())["app"]["workers"] == 17


def test_owner_and_mode_are_listed(rendered: Path) -> None:
    listed = (rendered / "web1/files.txt").read_text().splitlines()
    assert "root:postgres 0640 /etc/pgbouncer/pgbouncer.ini" in listed
    assert len(listed) == len(content(rendered / "web1" / "files"))


def test_the_budget_is_there(rendered: Path) -> None:
    assert "All pools on one database host, less reserved slots" in (rendered / "budget.txt").read_text()


def test_stand_ins_take_the_place_of_secrets(rendered: Path) -> None:
    assert "hidden.postgres_app_password" in (rendered / "web1/files/etc/obcms/obcms.env").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/nowhere"], "inventory '/nowhere' does not exist; give a folder like inventories/prod"),
        ([], "the following arguments are required: INVENTORY"),
        (["inventories/prod", "--output", "/etc"], "'/etc' holds something else than an earlier rendering; choose another folder"),
        (["inventories/prod", "--output", "/etc/passwd"], "'/etc/passwd' holds something else than an earlier rendering; choose another folder"),
    ],
)
def test_nonsense_gets_one_line_and_status_2(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"render: {message}\n")
