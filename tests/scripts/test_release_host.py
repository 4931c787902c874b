"""What a host says after its switch, for those who wait until the balancers use it again."""

from __future__ import annotations

import importlib.util
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

TOOL = Path(__file__).resolve().parents[2] / "roles/release/files/release-host"


@pytest.fixture
def release_host(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    loader = SourceFileLoader("release_host", str(TOOL))
    spec = importlib.util.spec_from_loader("release_host", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    for name, found in {"current": "1.0.0", "running": "1.0.0", "journal": [], "write_down": "", "activate": None}.items():
        monkeypatch.setattr(module, name, lambda *given, found=found: found)
    return module


def switched(release_host: ModuleType, fails_at: str) -> dict[str, Any]:
    class Tier:
        unit = "obcms.service"

        def step(self, name: str, version: str = "") -> None:
            if name == fails_at and version != "1.0.0":
                raise release_host.Trouble(name, "it does not hold")

        def serves(self) -> bool:
            return True

        def rehearse(self, version: str) -> None:
            self.step("rehearse", version)

        def prove(self, version: str) -> None:
            self.step("prove", version)

        def shut(self) -> None:
            """The door is shut."""

        def open(self) -> None:
            """The door is open."""

    given = {"to": "1.1.0", "back": "1.0.0", "rehearse": True, "always_back": True, "entry": {}}
    result: dict[str, Any] = release_host.switch(Tier(), given)
    return result


def test_a_host_that_was_away_says_when_its_door_opened(release_host: ModuleType) -> None:
    assert switched(release_host, "")["opened"] > 0
    failed = switched(release_host, "prove")
    assert not failed["ok"]
    assert "1.0.0 serves again" in failed["text"]
    assert failed["opened"] > 0


def test_a_host_that_never_left_has_opened_nothing(release_host: ModuleType) -> None:
    failed = switched(release_host, "rehearse")
    assert "was not touched" in failed["text"]
    assert "opened" not in failed
