"""Which release may run on a database that went back."""

from __future__ import annotations

from restore_fit import restore_fit

RELEASES = {"1.0.0": ["work.0001", "auth.0001"], "1.1.0": ["work.0001", "work.0002", "auth.0001"]}


def test_the_release_that_knows_just_these() -> None:
    assert restore_fit(["auth.0001", "work.0001"], RELEASES, "1.0.0") == {"problem": "", "missing": [], "fitting": ["1.0.0"]}


def test_a_database_behind_its_release_names_both_ways_out() -> None:
    found = restore_fit(["auth.0001", "work.0001"], RELEASES, "1.1.0")
    assert found["problem"] == (
        "the database is behind release 1.1.0: it lacks work.0002; -e app_version=1.0.0 -e resume=true runs a release that fits; "
        "-e migrate=true -e resume=true applies them at the end; -e abandon=true brings the old state back"
    )
    assert restore_fit(["auth.0001", "work.0001"], RELEASES, "1.1.0", migrate=True) == {"problem": "", "missing": ["work.0002"], "fitting": ["1.0.0"]}


def test_a_database_ahead_of_its_release_is_never_migrated() -> None:
    found = restore_fit(RELEASES["1.1.0"], RELEASES, "1.0.0", migrate=True)
    assert "ahead of release 1.0.0: it has work.0002" in found["problem"]
    assert "-e migrate" not in found["problem"]


def test_an_application_that_is_gone_does_not_count() -> None:
    assert restore_fit(["auth.0001", "work.0001", "legacy.0007"], RELEASES, "1.0.0")["problem"] == ""


def test_nothing_fits_and_unknown_releases() -> None:
    assert "no kept release fits" in restore_fit(["work.0001", "work.0009", "auth.0001"], RELEASES, "1.0.0")["problem"]
    assert restore_fit([], RELEASES, "2.0.0")["problem"] == "release 2.0.0 is not kept on the application hosts; kept are 1.0.0, 1.1.0"
