"""A playbook run as an operator would, for the tests whose hosts are directories of this machine."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]


def run_playbook(playbook: str, inventory: str, given: dict[str, Any], good: bool, *words: str) -> str:
    """Output on one line; AssertionError with the whole output when the exit status is not as expected."""
    command = ["ansible-playbook", "-i", inventory, playbook, "-e", json.dumps(given), *words]
    environment = os.environ | {"ANSIBLE_NOCOLOR": "1", "USER": "amina", "PATH": f"{PROJECT}/.venv/bin:{os.environ['PATH']}"}
    environment.pop("SUDO_USER", None)
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    text = done.stdout + done.stderr
    assert (done.returncode == 0) == good, text
    return " ".join(text.split())
