"""Every filter file is one that Ansible accepts and people can look up."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import yaml

PLUGINS = sorted((Path(__file__).parents[2] / "filter_plugins").glob("*.py"))


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.stem)
def test_documentation_is_complete(path: Path) -> None:
    module = importlib.import_module(path.stem)
    documentation = yaml.safe_load(module.DOCUMENTATION)
    assert documentation["short_description"]
    assert documentation["options"]["_input"]["required"]
    assert module.EXAMPLES.strip()
    assert yaml.safe_load(module.RETURN)["_value"]["description"]
    assert documentation["name"] in module.FilterModule().filters()
    for name, function in module.FilterModule().filters().items():
        assert getattr(module, name) is function
