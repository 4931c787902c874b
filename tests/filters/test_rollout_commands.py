"""Commands of the application: filled in without a shell, judged by what they say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rollout_commands import (
    CommandError,
    rollout_after_set_back,
    rollout_batch_outcomes,
    rollout_batches,
    rollout_changed,
    rollout_command,
    rollout_entries,
    rollout_first_answering,
    rollout_organisations,
    rollout_outcomes,
    rollout_passwords,
    rollout_present,
    rollout_preview,
    rollout_proof_accounts,
    rollout_proofs,
    rollout_reasoned,
    rollout_set_back,
    rollout_shares,
    rollout_shut_out,
    rollout_still_inside,
    rollout_tenants,
    rollout_unsealed,
    rollout_whole,
)

MOA = {"code": "MOH", "name": "Ministry of {Health}; rm -rf /", "type": "special", "wave": 1, "users": 30}


def result(code: str = "MOH", rc: int = 0, stdout: str = '{"changed": true}', stderr: str = "") -> dict[str, Any]:
    return {"item": {"code": code}, "rc": rc, "stdout": stdout, "stderr": stderr}


def test_words_are_filled_in_one_by_one() -> None:
    words = ["onboard_moa", "{code}", "--name", "{name}", "--type", "{app_type}", "{proof_user}", "{lower}"]
    more = {"types": {"special": "other"}, "proof_user": "proof-{lower}"}
    assert rollout_command(words, MOA, more) == ["onboard_moa", "MOH", "--name", MOA["name"], "--type", "other", "proof-moh", "moh"]
    assert rollout_command(["{app_type}"], {**MOA, "type": "office"}, more) == ["office"]
    with pytest.raises(CommandError, match=r"'\{kode\}' of the command 'tenant_add' cannot be filled in .* known are app_type, code"):
        rollout_command(["tenant_add", "{kode}"], MOA)


def test_outcomes() -> None:
    bad = result("MOLE", 1, "", "starting\nCommandError: onboard_moa: MOLE: no space left\n")
    good, failed = rollout_outcomes([result(stdout='log\n{"changed": true}'), bad])
    assert (good["ok"], good["changed"], good["detail"]) == (True, True, "")
    assert (failed["ok"], failed["changed"], failed["detail"]) == (False, False, "onboard_moa: MOLE: no space left")
    traceback = "Traceback:\n  File x\ndb.utils.OperationalError: connection failed: no such file\n  Is the server running?\n"
    assert rollout_outcomes([result(rc=1, stdout="", stderr=traceback)])[0]["detail"] == "db.utils.OperationalError: connection failed: no such file"
    assert rollout_outcomes([result(rc=1, stdout="")])[0]["detail"] == "exit status 1 and not a word"


def test_mails_that_perhaps_went_out_are_sent_again_by_a_flag_of_the_run() -> None:
    missing = "CommandError: perhaps sent to ann: with --mail-again"
    lost = result(rc=1, stdout='{"mails": {"failed": [], "unconfirmed": ["ann"]}}', stderr=missing)
    assert rollout_outcomes([lost])[0]["detail"] == "perhaps sent to ann: with --mail-again (here: -e again=true)"
    for stdout in ('{"mails": {"failed": ["ann"], "unconfirmed": []}}', '{"mails": 1}', ""):
        assert rollout_outcomes([result(rc=1, stdout=stdout, stderr="no")])[0]["detail"] == "no"


def test_changed_is_what_the_command_says() -> None:
    assert rollout_changed({"stdout": '{"created": true}'})
    assert not rollout_changed({"stdout": '{"changed": false, "created": false}'})
    assert not rollout_changed({"stdout": "no JSON"})


def test_organisations() -> None:
    status = rollout_organisations(result(stdout='{"organisations": [{"code": "MOH", "state": "planned"}]}'))
    assert status == {"MOH": {"code": "MOH", "state": "planned"}}
    assert rollout_organisations({"skipped": True}) == {}
    assert rollout_organisations(result(rc=1), needed=False) == {}
    with pytest.raises(CommandError, match="did not tell where its organisations stand: no database"):
        rollout_organisations(result(rc=1, stdout="", stderr="no database"))


def test_passwords_follow_from_the_secret() -> None:
    moas = [{"code": "MOH"}, {"code": "MOLE"}]
    first = rollout_passwords(moas, "secret")
    assert first == rollout_passwords(moas, "secret")
    assert first != rollout_passwords(moas, "other")
    assert len({*first.values()}) == 2
    assert all(len(password) > 40 and "secret" not in password for password in first.values())


def test_tenants_are_tried_on_anothers_record() -> None:
    status = {"MOH": {"newest_record": 7}, "MOLE": {"newest_record": 9}}
    first, second = rollout_tenants([{"code": "MOH"}, {"code": "MOLE"}], status, {"MOH": "a", "MOLE": "b"}, "proof-{lower}")
    assert first == {"code": "MOH", "username": "proof-moh", "password": "a", "own": 7, "other": 9}
    assert (second["own"], second["other"]) == (9, 7)
    assert rollout_tenants([{"code": "MOH"}], {"MOH": {"newest_record": 7}}, {"MOH": "a"}, "{code}")[0]["other"] is None


def test_shares_are_even() -> None:
    tenants = [{"code": str(number)} for number in range(5)]
    shares = rollout_shares(tenants, [{"name": "a"}, {"name": "b"}, {"name": "c"}])
    assert [len(share["tenants"]) for share in shares] == [2, 2, 1]
    assert [share["name"] for share in rollout_shares(tenants[:1], [{"name": "a"}, {"name": "b"}])] == ["a"]
    with pytest.raises(CommandError, match="rollout_proof_clients"):
        rollout_shares(tenants, [])


def test_a_lost_client_proves_nothing() -> None:
    proofs = rollout_proofs([{"proofs": [{"code": "A", "ok": True}]}, {"unreachable": True, "item": {"name": "web2", "tenants": [{"code": "B"}]}}])
    assert [(proof["code"], proof["ok"]) for proof in proofs] == [("A", True), ("B", False)]
    assert "web2" in proofs[1]["detail"]


def test_who_is_set_back() -> None:
    proofs = [
        {"code": "LEAKS", "ok": False, "leak": True},
        {"code": "NEW", "ok": False, "leak": False},
        {"code": "OLD", "ok": False, "leak": False},
        {"code": "GOOD", "ok": True, "leak": False},
    ]
    moas = [{"code": proof["code"]} for proof in proofs]
    assert [moa["code"] for moa in rollout_set_back(proofs, moas, ["LEAKS", "OLD", "GOOD"])] == ["LEAKS", "NEW"]


def test_entries_leave_out_what_did_not_happen() -> None:
    outcomes = [{"code": "MOH", "ok": True, "changed": False, "detail": ""}]
    assert rollout_entries([MOA], outcomes, "onboarded", settled=["MOH"]) == []
    assert rollout_entries([MOA], outcomes, "onboarded")[0]["state"] == "onboarded"
    assert rollout_entries([MOA], [{**outcomes[0], "ok": False, "detail": "x"}], "onboarded", settled=["MOH"])[0]["state"] == "failed"


def test_present_and_still_inside() -> None:
    status = {"MOH": {"state": "onboarded"}, "MOLE": {"state": "suspended"}}
    moas = [{"code": "MOH"}, {"code": "MOLE"}, {"code": "BWC"}]
    assert [moa["code"] for moa in rollout_present(moas, status, [])] == ["MOH"]
    # An application that tells nothing: the record answers.
    assert [moa["code"] for moa in rollout_present(moas, {}, ["BWC"])] == ["BWC"]
    assert rollout_still_inside(moas, status, [{"code": "MOLE", "ok": False, "detail": "still comes in"}]) == [
        "MOH is still on board",
        "MOLE: still comes in",
    ]


def test_preview() -> None:
    text = rollout_preview([MOA], {"MOH": {"state": "suspended", "users": 30}}, {"MOH": 31})
    assert text == "MOH would come back; users now 30, in the list 31, planned 30; proof by a login"
    assert rollout_preview([], {}, {}).startswith("nothing:")


def test_one_command_for_all_where_it_takes_several_codes() -> None:
    moas = [{"code": "AAA"}, {"code": "BBB"}]
    assert rollout_batches(["out", "{codes}", "--json"], moas) == [{"codes": ["AAA", "BBB"], "argv": ["out", "AAA", "BBB", "--json"]}]
    assert rollout_batches(["out", "{lowers}"], moas)[0]["argv"] == ["out", "aaa", "bbb"]
    assert [batch["argv"] for batch in rollout_batches(["out", "{lower}"], moas)] == [["out", "aaa"], ["out", "bbb"]]
    assert rollout_batches(["out", "{codes}"], []) == []


def test_who_is_not_in_the_answer_of_a_batch_has_failed() -> None:
    answer = {"organisations": [{"code": "AAA", "changed": True}, {"code": "BBB", "changed": False, "error": "stuck"}]}
    result = {"item": {"codes": ["AAA", "BBB", "CCC"]}, "rc": 1, "stdout": json.dumps(answer), "stderr": "CommandError: stuck"}
    found = [(each["code"], each["ok"], each["changed"]) for each in rollout_batch_outcomes([result])]
    assert found == [("AAA", True, True), ("BBB", False, False), ("CCC", False, False)]
    assert rollout_changed(result)


def test_a_single_command_is_judged_by_its_exit_status() -> None:
    good, bad = ({"item": {"codes": ["AAA"]}, "rc": rc, "stdout": '{"tenant": "aaa"}', "stderr": "no such tenant"} for rc in (0, 1))
    assert [each["ok"] for each in rollout_batch_outcomes([good, bad])] == [True, False]
    assert rollout_batch_outcomes([bad])[0]["detail"] == "no such tenant"


def test_set_back_is_who_is_new_and_half_on_board() -> None:
    moas = [{"code": "AAA"}, {"code": "BBB"}, {"code": "CCC"}]
    outcomes = [{"code": code, "ok": False, "detail": "mails are missing"} for code in ("AAA", "BBB", "CCC")]
    status = {"AAA": {"state": "onboarded"}, "BBB": {"state": "onboarded"}, "CCC": {"state": "planned"}}
    assert rollout_set_back([], moas, ["BBB"], outcomes, status) == [{"code": "AAA"}]
    judged = rollout_after_set_back([], outcomes[:1], [{"code": "AAA", "ok": False, "detail": "stuck"}])
    assert judged[0]["detail"] == "mails are missing; STILL ON BOARD, setting it back failed: stuck"


def test_passwords_are_lost_where_the_record_never_heard_of_the_organisation() -> None:
    status = {"AAA": {"users": 3}, "BBB": {"users": 3}, "CCC": {"users": 0}}
    lines = [{"kind": "moa", "moa": "AAA", "state": "onboarded"}, {"kind": "moa", "moa": "BBB", "state": "failed"}]
    assert rollout_unsealed([{"code": code} for code in status], status, lines) == ["BBB"]


def test_commands_run_on_the_first_host_that_answers() -> None:
    members = [{"name": "web1"}, {"name": "web2"}]
    silent = {"__rollout_ping": {"unreachable": True}}
    assert rollout_first_answering(members, {"web1": silent, "web2": {"__rollout_ping": {"ping": "pong"}}}) == "web2"
    with pytest.raises(CommandError, match="no application host answers over SSH .asked: web1, web2."):
        rollout_first_answering(members, {"web1": silent, "web2": {}})


def test_one_command_for_all_or_one_each() -> None:
    moas = [{"code": "MOH"}, {"code": "MOLE"}]
    assert rollout_batches(["suspend", "{codes}", "--now"], moas) == [{"codes": ["MOH", "MOLE"], "argv": ["suspend", "MOH", "MOLE", "--now"]}]
    assert rollout_batches(["suspend", "{why}", "{code}"], moas, {"why": "wave"}) == [
        {"codes": ["MOH"], "argv": ["suspend", "wave", "MOH"]},
        {"codes": ["MOLE"], "argv": ["suspend", "wave", "MOLE"]},
    ]


def batch(codes: list[str], stdout: str = "", rc: int = 0, **more: Any) -> dict[str, Any]:
    return {"item": {"codes": codes}, "rc": rc, "stdout": stdout, "stderr": "", **more}


def told(*rows: dict[str, Any]) -> str:
    return json.dumps({"organisations": rows})


def test_what_became_of_each_in_a_batch() -> None:
    good, bad = {"code": "MOH", "changed": True}, {"code": "MOLE", "error": "is not there"}
    assert rollout_batch_outcomes([batch(["MOH", "MOLE", "MIPA"], told(good, bad))]) == [
        {"code": "MOH", "ok": True, "changed": True, "detail": "", "answer": good},
        {"code": "MOLE", "ok": False, "changed": False, "detail": "is not there", "answer": bad},
        {"code": "MIPA", "ok": False, "changed": False, "detail": "the command did not tell what became of it", "answer": {}},
    ]
    # An error of one is an error of the whole command to the shell, but not to the others.
    assert [row["ok"] for row in rollout_batch_outcomes([batch(["MOH", "MOLE"], told(good, bad), rc=1)])] == [True, False]


def test_what_became_of_one_alone() -> None:
    alone = {"changed": True}
    assert rollout_batch_outcomes([batch(["MOH"], json.dumps(alone))]) == [
        {"code": "MOH", "ok": True, "changed": True, "detail": "", "answer": alone}
    ]
    assert rollout_batch_outcomes([batch(["MOH"], told({"code": "MOH", "error": "no"}))])[0]["ok"] is False
    failed = batch(["MOH"], rc=2, stderr="CommandError: no database\n")
    assert rollout_batch_outcomes([failed]) == [{"code": "MOH", "ok": False, "changed": False, "detail": "no database", "answer": {}}]
    lost = batch(["MOH"], unreachable=True, msg="no route to web1")
    assert [(row["ok"], row["detail"]) for row in rollout_batch_outcomes([lost])] == [(False, "no route to web1")]


def test_skipped_batches_say_nothing() -> None:
    rows = rollout_batch_outcomes([{"skipped": True}, batch(["MOH"], "{}")])
    assert [row["code"] for row in rows] == ["MOH"]
    assert [row["code"] for row in rollout_outcomes([{"skipped": True}, result()])] == ["MOH"]


def test_the_last_line_that_is_json_answers() -> None:
    assert rollout_outcomes([result(stdout='{"changed": true}\nbye\n')])[0]["changed"]
    assert rollout_outcomes([{"item": {"code": "MOH"}, "msg": ""}])[0]["detail"] == "exit status ? and not a word"


def test_organisations_of_an_application_that_says_little() -> None:
    assert rollout_organisations(result(stdout="{}")) == {}
    assert rollout_organisations(None) == {}
    kept = rollout_organisations(result(stdout=told({"code": "MOH"})), needed=False)
    assert kept == {"MOH": {"code": "MOH"}}


def test_the_accounts_that_prove() -> None:
    moas = [{"code": "MOH"}, {"code": "MOLE"}]
    assert rollout_proof_accounts(moas, {"MOH": "a", "MOLE": "b"}, "proof-{lower}@{code}") == {"proof-moh@MOH": "a", "proof-mole@MOLE": "b"}


def test_an_organisation_without_records_can_still_be_proven() -> None:
    (tenant,) = rollout_tenants([{"code": "MOH"}], {}, {"MOH": "a"}, "{lower}")
    assert tenant == {"code": "MOH", "username": "moh", "password": "a", "own": None, "other": None}


def test_proofs_of_all_clients_are_kept() -> None:
    rows = rollout_proofs([{"proofs": [{"code": "A"}]}, {"proofs": [{"code": "B"}]}])
    assert rows == [{"code": "A"}, {"code": "B"}]


def test_who_came_half_way_is_set_back_only_when_on_board() -> None:
    outcomes = [{"code": "HALF", "ok": False}, {"code": "NONE", "ok": False}, {"code": "OFF", "ok": False}]
    moas = [{"code": row["code"]} for row in outcomes]
    status = {"HALF": {"state": "onboarded"}, "OFF": {"state": "suspended"}}
    assert rollout_set_back([], moas, [], outcomes, status) == [{"code": "HALF"}]
    assert rollout_set_back([], moas, [], outcomes) == []


def test_what_is_said_after_setting_back() -> None:
    proofs = [{"code": "A", "ok": True, "detail": "seen"}, {"code": "B", "ok": False, "detail": "LEAK"}, {"code": "C", "ok": False, "detail": "late"}]
    suspended = [{"code": "B", "ok": True, "detail": ""}, {"code": "C", "ok": False, "detail": "no database"}]
    outcomes = [{"code": "D", "ok": False, "detail": "mail"}, {"code": "E", "ok": True, "detail": ""}]
    assert [(row["code"], row["detail"]) for row in rollout_after_set_back(proofs, outcomes, suspended)] == [
        ("A", "seen"),
        ("B", "LEAK; set back"),
        ("C", "late; STILL ON BOARD, setting it back failed: no database"),
        ("D", "mail"),
    ]


def test_a_reason_does_not_hide_what_went_wrong() -> None:
    rows = rollout_reasoned([{"code": "A", "ok": True, "detail": ""}, {"code": "B", "ok": False, "detail": "no database"}], "audit")
    assert [row["detail"] for row in rows] == ["audit", "audit; no database"]


def test_who_was_shut_out_and_who_was_not() -> None:
    good, bad = {"code": "AAA", "ok": True, "detail": ""}, {"code": "BBB", "ok": False, "detail": "BBB is stuck"}
    assert rollout_shut_out([good, {**good, "code": "CCC"}]) == "access ended for AAA, CCC"
    assert rollout_shut_out([good, bad]) == "access ended for AAA; NOT suspended: BBB (BBB is stuck), run it again at once"
    assert rollout_shut_out([bad]) == "NOT suspended: BBB (BBB is stuck), run it again at once"
    assert rollout_shut_out([]) == "nobody was suspended, run it again at once"


@pytest.mark.parametrize(
    ("live", "whole"),
    [
        ({"state": "onboarded", "users": 3, "welcome_mails": {"sent": 2, "in-file": 1}}, True),
        ({"state": "onboarded", "users": 4}, True),
        ({"state": "onboarded"}, True),
        ({"state": "onboarded", "users": 2}, False),
        ({"state": "suspended", "users": 3}, False),
        ({"state": "onboarded", "users": 3, "welcome_mails": {"sent": 2, "none": 1}}, False),
        ({"state": "onboarded", "users": 3, "welcome_mails": {"sent": 2, "sending": 1}}, False),
        ({}, False),
    ],
)
def test_only_who_is_whole_is_left_alone_when_a_run_is_resumed(live: dict[str, Any], whole: bool) -> None:
    assert rollout_whole(["AAA"], {"AAA": live, "BBB": {"state": "onboarded"}}, {"AAA": 3}) == (["AAA"] if whole else [])


def test_the_record_answers_for_an_application_that_tells_nothing() -> None:
    assert rollout_whole(["AAA"], {}, {"AAA": 3}) == ["AAA"]


def test_whose_passwords_nobody_has_seen() -> None:
    moas = [{"code": code} for code in ("NEW", "ONBOARD", "PROVEN", "EMPTY", "UNKNOWN")]
    status = {"NEW": {"users": 3}, "ONBOARD": {"users": 3}, "PROVEN": {"users": 3}, "EMPTY": {"users": 0}}
    lines = [{"kind": "moa", "moa": "ONBOARD", "state": "onboarded"}, {"kind": "moa", "moa": "PROVEN", "state": "proven"}]
    assert rollout_unsealed(moas, status, lines) == ["NEW"]


def test_no_application_host_is_said_so() -> None:
    with pytest.raises(CommandError, match=r"answers over SSH \(asked: none\)"):
        rollout_first_answering([], {})


def test_the_preview_of_one_who_never_was_there() -> None:
    assert rollout_preview([MOA], {}, {}) == "MOH would come on board; users now 0, in the list none, planned 30; proof by a login"


def test_an_entry_for_every_change() -> None:
    rows = rollout_entries([MOA], [{"code": "MOH", "ok": True, "changed": True, "detail": "d"}], "onboarded", settled=["MOH"])
    assert rows == [{"kind": "moa", "moa": "MOH", "wave": 1, "state": "onboarded", "users": 30, "detail": "d"}]
    assert rollout_entries([MOA], [{"code": "MOH", "ok": True, "detail": ""}], "onboarded", settled=["MOH"]) == []
