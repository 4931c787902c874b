"""The plan: what is read from the files, and every mistake with its fix."""

from __future__ import annotations

from pathlib import Path

import pytest

import make_lab_users
from rollout_plan import PlanError, rollout_choice, rollout_plan, rollout_plan_problems, rollout_users

PROJECT = Path(__file__).parents[2]
HEAD = "code,name,type,wave,users\n"
PLAN = HEAD + 'AAA,"First, of all",ministry,1,20\nBBB,Second,office,1,10\nCCC,Third,special,2,30\n'
CALENDAR = "wave,start,days,coordinator,soak_minutes\n1,2027-01-04,14,Amina,30\n2,2027-01-18,,Omar,\n"
USERS = "organisation_code,full_name,email,username,role\nAAA,Ann,ann@a.example,ann,admin\nBBB,Ben,ben@b.example,ben,staff\n"


@pytest.mark.parametrize("inventory", ["lab", "prod"])
def test_the_plans_of_the_project(inventory: str) -> None:
    place = PROJECT / "inventories" / inventory
    plan = rollout_plan((place / "moas.csv").read_text(), (place / "waves.csv").read_text(), hosts=4)
    assert (len(plan["moas"]), len(plan["waves"]), plan["users"], plan["carries"]) == (44, 9, 1025, 1100)
    assert [moa["code"] for moa in rollout_choice(plan, 1)] == ["MOH", "MOLE", "MAFAR"]


def test_lists_of_the_lab_fit_its_plan(tmp_path: Path) -> None:
    lab = PROJECT / "inventories" / "lab"
    plan = rollout_plan((lab / "moas.csv").read_text())
    (tmp_path / "moas.csv").write_bytes((lab / "moas.csv").read_bytes())
    for path in make_lab_users.write_lists(tmp_path):
        assert path.read_text() == (lab / "users" / path.name).read_text(), f"{path.name}: run scripts/make_lab_users.py"
        chosen = rollout_choice(plan, path.stem)
        assert rollout_users(path.read_text(), plan, chosen) == {moa["code"]: moa["users"] for moa in chosen}


def test_waves_and_calendar() -> None:
    first, second = rollout_plan(PLAN, CALENDAR)["waves"]
    assert first == {
        "wave": 1, "start": "2027-01-04", "end": "2027-01-17", "days": 14, "coordinator": "Amina", "soak_minutes": 30.0,
        "moas": ["AAA", "BBB"], "users": 30,
    }  # fmt: skip
    assert (second["end"], second["soak_minutes"]) == ("2027-01-31", None)


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_files_may_come_from_any_system(end: str) -> None:
    assert rollout_plan("\ufeff" + PLAN.replace("\n", end), "\ufeff" + CALENDAR.replace("\n", end)) == rollout_plan(PLAN, CALENDAR)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column code, name, type, wave, users is missing, found an empty file"),
        ("code,name\nA,B\n", "column type, wave, users is missing, found code, name"),
        (HEAD, "names no MOA"),
        (HEAD + "AAA,First, of all,ministry,1,20\n", "line 2 has 6 columns, the first line has 5; put names with commas in quotes"),
        (HEAD + "aaa,A,ministry,1,20\n", "line 2: code 'aaa' is no code; use up to 20 capital letters"),
        (HEAD + "AAA,,ministry,1,20\n", "line 2: AAA has no name"),
        (HEAD + "AAA,A,bureau,1,20\n", "line 2: type 'bureau' of AAA is unknown; use ministry, office"),
        (HEAD + "AAA,A,ministry,one,20\n", "line 2: wave 'one' of AAA is no number above 0"),
        (HEAD + "AAA,A,ministry,1,0\n", "line 2: users '0' of AAA is no number above 0"),
        (HEAD + "AAA,A,ministry,1,5\nAAA,B,ministry,1,5\n", "code AAA occurs 2 times; leave one"),
        (HEAD + "AAA,A,ministry,1,5\nBBB,A,ministry,1,5\n", "name A occurs 2 times; leave one"),
        (HEAD + "AAA,A,ministry,1,5\nBBB,B,ministry,3,5\n", "wave 2 has no MOA, but wave 3 exists; number the waves"),
    ],
)
def test_mistakes_of_the_plan(text: str, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        rollout_plan(text)
    assert message in str(caught.value)


def test_users_are_held_against_the_fleet_only_where_there_is_one() -> None:
    many = HEAD + "AAA,A,ministry,1,100000\n"
    assert rollout_plan_problems(many) == []
    assert len(rollout_plan_problems(many, hosts=1)) == 1


def test_all_mistakes_come_at_once() -> None:
    with pytest.raises(PlanError, match="3 mistakes"):
        rollout_plan(HEAD + "aaa,A,bureau,x,20\n")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2027-01-18", "2027-01-17", "wave 2 starts on 2027-01-17, but wave 1 lasts until 2027-01-17; start it after 2027-01-17 or shorten wave 1"),
        ("2027-01-04", "4 Jan", "line 2: start '4 Jan' of wave 1 is no date; write it like 2027-01-31"),
        ("2027-01-04", "20270104", "line 2: start '20270104' of wave 1 is no date; write it like 2027-01-31"),
        ("2027-01-18", "2027-W03-1", "line 3: start '2027-W03-1' of wave 2 is no date"),
        (CALENDAR.partition("\n")[2], "", "waves.csv: wave 1, 2 is missing; add a line for it"),
        ("2,2027", "3,2027", "line 3: wave '3' is in no line of moas.csv"),
        ("2,2027", "1,2027", "wave 1 occurs 2 times"),
        ("14,Amina", "x,Amina", "days 'x' of wave 1 is no number above 0; leave it empty for 14"),
        ("Omar", "", "wave 2 has no coordinator; name one"),
        ("Amina,30", "Amina,long", "soak_minutes 'long' of wave 1 is no number"),
        ("2,2027-01-18,,Omar,\n", "", "wave 2 is missing; add a line for it"),
    ],
)
def test_mistakes_of_the_calendar(old: str, new: str, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        rollout_plan(PLAN, CALENDAR.replace(old, new))
    assert message in str(caught.value)


def test_more_users_than_the_fleet_carries() -> None:
    with pytest.raises(PlanError, match=r"plans 60 users, but 1 application hosts x 50 users = 50; add application hosts"):
        rollout_plan(PLAN, hosts=1, users_per_host=50)


def test_choice() -> None:
    plan = rollout_plan(PLAN)
    assert [moa["code"] for moa in rollout_choice(plan, "1")] == ["AAA", "BBB"]
    assert [moa["code"] for moa in rollout_choice(plan, 1, "BBB, BBB")] == ["BBB"]
    assert [moa["code"] for moa in rollout_choice(plan, "", ["AAA", "CCC"])] == ["AAA", "CCC"]


@pytest.mark.parametrize(
    ("wave", "moas", "message"),
    [
        ("", "", "no wave was named; add -e wave=N with N from 1 to 2"),
        ("3", "", "wave '3' is not in moas.csv, which has the waves 1 to 2"),
        ("one", "", "wave 'one' is not in moas.csv"),
        ("1", "XXX", "XXX is not in moas.csv"),
        ("1", "CCC", "CCC (wave 2) does not belong to wave 1"),
        ("", "AAA,CCC", "belong to several waves"),
    ],
)
def test_mistakes_of_the_choice(wave: str, moas: str, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        rollout_choice(rollout_plan(PLAN), wave, moas, one_wave=True)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "users/1.csv is missing or empty; ask the coordinator of wave 1 for it"),
        (USERS.replace("BBB,Ben", "CCC,Ben"), "line 3: CCC is not in wave 1, which has AAA, BBB; move the line"),
        (USERS.replace("ben@b.example", "ben"), "line 3: e-mail 'ben' is no address"),
        (USERS.replace("staff", "king"), "line 3: role 'king' is unknown; use admin, staff, viewer"),
        (USERS.replace("ben,staff", "ann,staff"), "username ann occurs 2 times"),
        (USERS.replace("ben@b.example", "ANN@a.example"), "e-mail ann@a.example occurs 2 times"),
        (USERS.replace("Ben,", ","), "line 3: full_name is empty"),
        (USERS.replace("BBB", "AAA"), "BBB has no user; ask for its list, or leave it out with -e moas="),
        (USERS.replace("ben,staff", "ben kulo,staff"), "line 3: username 'ben kulo' is none; use up to 150 letters, digits and @ . + - _"),
        (USERS.replace("ben,staff", "b" * 151 + ",staff"), "line 3: username 'bbb"),
        (USERS.replace("ben@b.example", "bén@b.example"), "line 3: e-mail 'bén@b.example' has letters that mail servers do not take"),
        (USERS.replace("BBB,Ben", "# left\nBBB,Ben"), "line 3 begins with #; a list of users has no remarks, remove it"),
        ("# the list of wave 1\n" + USERS, "line 1 begins with #"),
        ("\n" + USERS, "line 1 is blank; the columns stand in the first line, remove what is above them"),
        ("\ufeff \r\n" + USERS, "line 1 is blank"),
        (USERS.replace("Ben,", b"B\xe9n,".decode(errors="surrogateescape")), "1 mistake\n  - line 3 is not UTF-8; save the list as CSV UTF-8"),
    ],
)
def test_mistakes_of_a_list_of_users(text: str, message: str) -> None:
    plan = rollout_plan(PLAN)
    with pytest.raises(PlanError) as caught:
        rollout_users(text, plan, rollout_choice(plan, 1), "users/1.csv")
    assert message in str(caught.value)


def test_what_the_application_takes_is_taken() -> None:
    plan = rollout_plan(PLAN)
    text = "\ufeff" + USERS.replace("ben,staff", "bén.kulo+1@b-_,staff").replace("Ben,", "Bén #1,") + "\n"
    assert rollout_users(text, plan, rollout_choice(plan, 1)) == {"AAA": 1, "BBB": 1}


def test_an_organisation_that_is_left_out_needs_no_users() -> None:
    plan = rollout_plan(PLAN)
    assert rollout_users(USERS.replace("BBB", "AAA"), plan, rollout_choice(plan, 1, "AAA"))["AAA"] == 2


def test_remarks_are_left_out_and_lines_keep_their_numbers() -> None:
    calendar = CALENDAR.replace("2,2027", "# a remark\n3,2027")
    assert rollout_plan_problems("# a remark\n" + PLAN, calendar)[0].startswith("waves.csv line 4: wave '3'")
    assert not rollout_plan(PLAN, CALENDAR)["example"]
    assert rollout_plan(PLAN, "# Example dates, not agreed on\n" + CALENDAR)["example"]
    assert rollout_plan(PLAN, "\ufeff# Example dates, not agreed on\n" + CALENDAR)["example"]


def test_preflight_gets_every_mistake_and_nothing_where_there_is_no_plan() -> None:
    assert rollout_plan_problems("") == []
    assert rollout_plan_problems(PLAN, CALENDAR, hosts=4) == []
    assert len(rollout_plan_problems(HEAD + "aaa,A,bureau,x,20\n")) == 3
    assert "columns are" in rollout_plan_problems("code\n")[0]


def test_the_dates_of_production_are_examples_until_somebody_agrees_to_them() -> None:
    place = PROJECT / "inventories" / "prod"
    plan = rollout_plan((place / "moas.csv").read_text(), (place / "waves.csv").read_text(), hosts=4)
    assert (len(plan["moas"]), len(plan["waves"]), plan["users"]) == (44, 9, 1025)
    assert plan["example"] == ("example dates" in (place / "waves.csv").read_text().lower())


def test_modules_are_optional_and_checked() -> None:
    head, *rows = PLAN.splitlines()
    text = "\n".join([head + ",modules", rows[0] + ",budget planning", *(row + "," for row in rows[1:])])
    assert [moa["modules"] for moa in rollout_plan(text)["moas"]][:2] == ["budget,planning", ""]
    assert {moa["modules"] for moa in rollout_plan(PLAN)["moas"]} == {""}
    wrong = text.replace("budget planning", "budget Plans 7!")
    assert rollout_plan_problems(wrong) == ["moas.csv line 2: Plans, 7! of AAA is no name of a module; use small letters, digits, _, -"]
    with pytest.raises(PlanError, match="line 2: Budget of AAA is no name of a module"):
        rollout_plan(text.replace("budget planning", "Budget"))
