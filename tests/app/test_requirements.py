"""The tests of the application need what the application needs."""

from reference import DJANGO_MISSING


def test_the_requirements_are_installed() -> None:
    assert not DJANGO_MISSING, "the tests of lab/app need its packages: .venv/bin/pip install -r lab/app/requirements.txt"
