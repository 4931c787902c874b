"""The command line that reaches a host as Ansible does."""

from __future__ import annotations

from ssh_command import OPTIONS, ssh_command


def test_it_takes_what_the_connection_takes() -> None:
    variables = {
        "inventory_hostname": "db1",
        "ansible_host": "192.0.2.41",
        "ansible_user": "ops",
        "ansible_port": 2222,
        "ansible_ssh_private_key_file": "/keys/id",
        "ansible_ssh_common_args": "-o UserKnownHostsFile='/a b/known' -o IdentitiesOnly=yes\n",
        "ansible_ssh_extra_args": "-J 'jump host'",
    }
    assert ssh_command(variables, ["psql", "-c", "SELECT 1; --"]) == [
        "ssh", *OPTIONS, "-o", "UserKnownHostsFile=/a b/known", "-o", "IdentitiesOnly=yes", "-J", "jump host",
        "-i", "/keys/id", "-p", "2222", "-l", "ops",
        "192.0.2.41", "sudo -n psql -c 'SELECT 1; --'",
    ]  # fmt: skip


def test_a_host_without_variables_is_reached_by_its_name() -> None:
    assert ssh_command({"inventory_hostname": "db1", "ansible_user": "root"}, ["true"]) == ["ssh", *OPTIONS, "-l", "root", "db1", "true"]


def test_the_controller_itself_needs_no_ssh() -> None:
    assert ssh_command({"ansible_connection": "local", "ansible_user": "root"}, ["true", 1]) == ["true", "1"]  # type: ignore[list-item]


def test_both_names_of_a_setting_count() -> None:
    variables = {"inventory_hostname": "db1", "ansible_ssh_user": "root", "ansible_ssh_host": "192.0.2.41", "ansible_private_key_file": "/keys/id"}
    assert ssh_command(variables, ["true"]) == ["ssh", *OPTIONS, "-i", "/keys/id", "-l", "root", "192.0.2.41", "true"]
