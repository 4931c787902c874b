"""The action `packages`: what it makes of dpkg's answer, and that apt is left alone when nothing is missing."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail

SOURCE = Path(__file__).parents[2] / "action_plugins" / "packages.py"


def load() -> Any:
    spec = importlib.util.spec_from_file_location("packages_action", SOURCE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


packages = load()


class Host:
    """A host with some packages; apt fails as often as it is told to."""

    def __init__(self, listing: str, failures: int = 0) -> None:
        self.listing, self.failures, self.calls = listing, failures, []

    def action(self, check: bool = False, **arguments: Any) -> Any:
        action = object.__new__(packages.ActionModule)
        action._task = SimpleNamespace(args=arguments, check_mode=check, async_val=0, environment=[{"LANG": "C"}])
        action._low_level_execute_command = lambda *_, **__: {"stdout": self.listing}
        action._execute_module = lambda **given: self.apt(action._task.environment, **given)
        action._supports_async, action._supports_check_mode = False, True
        return action

    def apt(self, environment: list[dict[str, str]], module_args: dict[str, Any], **_: Any) -> dict[str, Any]:
        self.environment = environment
        self.calls.append(module_args)
        return {"failed": True} if len(self.calls) <= self.failures else {"changed": True}


@pytest.fixture(autouse=True)
def _no_base_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages.ActionBase, "run", lambda *_, **__: {})


def test_apt_is_not_run_when_everything_is_installed() -> None:
    host = Host("redis-server installed\nredis-tools installed\n")
    assert host.action(name=["redis-server", "redis-tools"]).run() == {"changed": False, "missing": []}
    assert host.calls == []


@pytest.mark.parametrize("state", ["", "curl config-files\n", "curl half-installed\n", "curl not-installed\n"])
def test_what_is_not_wholly_installed_is_installed(state: str) -> None:
    host = Host("acl installed\n" + state)
    assert host.action(name=["acl", "curl"], policy_rc_d=101).run() == {"changed": True, "missing": ["curl"]}
    assert host.calls[0]["name"] == ["curl"]
    assert host.calls[0]["policy_rc_d"] == 101


def test_a_failed_installation_is_tried_again_with_new_lists() -> None:
    host = Host("", failures=1)
    assert host.action(name="curl").run()["changed"]
    assert [call["cache_valid_time"] for call in host.calls] == [86400, 0]


def test_a_check_run_fetches_no_lists() -> None:
    host = Host("", failures=1)
    assert host.action(check=True, name="curl").run()["failed"]
    assert len(host.calls) == 1


@pytest.mark.parametrize("arguments", [{}, {"name": []}, {"name": ["curl; rm"]}, {"name": ["curl"], "state": "latest"}, {"name": [None]}])
def test_other_input_is_refused_before_the_host_is_asked(arguments: dict[str, Any]) -> None:
    host = Host("")
    with pytest.raises(AnsibleActionFail, match="packages: "):
        host.action(**arguments).run()
    assert host.calls == []


def test_an_installation_is_not_followed_by_a_look_through_all_processes() -> None:
    host = Host("")
    host.action(name="acl").run()
    assert host.environment == [{"LANG": "C"}, {"NEEDRESTART_SUSPEND": "1"}]
