#!/usr/bin/python
"""Proof of a tenant from outside: its account logs in through the balancer, sees its own organisation and nothing of another."""

from __future__ import annotations

import http.client
import http.cookies
import json
import re
import socket
import ssl
import time
import urllib.parse
from typing import Any

DOCUMENTATION = r"""
---
module: tenant_proof
short_description: Logs in as a tenant through the balancer and looks around
description:
  - Connects to O(address), with O(domain) as the name in TLS and in the request, and checks the certificate against O(ca).
  - The balancer allows few logins per minute and client address. A refusal (429) is waited for, up to O(patience) seconds for each tenant.
  - A tenant that fails its proof does not keep the others from theirs. The module fails for no tenant; C(proofs) tells.
  - Needs Python 3.9 and nothing else.
options:
  address:
    description: Address of the balancer.
    type: str
    required: true
  port:
    description: Port of the balancer.
    type: int
    default: 443
  domain:
    description: Name of the platform.
    type: str
    required: true
  ca:
    description: Path of the authority's certificate; the host's trust store when it is empty.
    type: str
  tenants:
    description: >-
      Tenants to prove, each with C(code) (null for an account that belongs to none), C(username), C(password), C(own) (id of a record of
      its own, or null) and C(other) (id of a record of another tenant, or null).
    type: list
    elements: dict
    required: true
  expect:
    description: C(entry) proves that the tenant comes in and sees its own only, C(refusal) that it does not come in.
    type: str
    choices: [entry, refusal]
    default: entry
  paths:
    description: Paths of the application, C(login), C(me), C(records).
    type: dict
    default: {login: /login/, me: /api/me/, records: /api/records/}
  pages:
    description: Further paths that must answer 200 once an account is in.
    type: list
    elements: str
    default: []
  field:
    description: Field of the answer of C(me) that holds the code of the tenant.
    type: str
    default: organisation
  patience:
    description: Seconds to wait for the balancer's limit, for each tenant.
    type: int
    default: 90
  timeout:
    description: Seconds for each request.
    type: int
    default: 20
author: the OBCMS platform team
"""

EXAMPLES = r"""
- name: Prove that the Ministry of Health is on board
  tenant_proof:
    address: 10.40.0.10
    domain: obcms.barmm.gov.ph
    ca: /etc/obcms/pki/ca.crt
    tenants: [{code: MOH, username: proof-moh, password: "{{ password }}", own: 17, other: 21}]
"""

RETURN = r"""
proofs:
  description: For each tenant C(code), C(ok), C(leak) (it saw what is not its own), C(detail) and C(seconds).
  returned: always
  type: list
"""

TOO_MANY = 429
# The balancer gives back one login every twelve seconds (5 per minute).
PAUSE_SECONDS = 6
TOKEN = re.compile(r'name="csrfmiddlewaretoken"[^>]*value="([^"]+)"')


class ProofFailed(Exception):
    """What the proof found."""


class Leak(ProofFailed):
    """The tenant saw what belongs to another."""


class Connection(http.client.HTTPSConnection):
    """Connects to an address, while name and certificate are those of the platform."""

    def __init__(self, address: str, port: int, domain: str, context: ssl.SSLContext, timeout: int) -> None:
        super().__init__(domain, port, context=context, timeout=timeout)
        self._address, self._tls = address, context

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), self.timeout)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)


class Answer:
    """Status, location and text of an answer."""

    def __init__(self, status: int, location: str, text: str) -> None:
        self.status, self.location, self.text = status, location, text

    def json(self) -> Any:
        try:
            return json.loads(self.text)
        except ValueError:
            return None


class Browser:
    """As much of a browser as a login needs: cookies, a referrer, and patience with the balancer's limit."""

    def __init__(self, params: dict[str, Any]) -> None:
        self._params = params
        self._context = ssl.create_default_context(cafile=params["ca"] or None)
        self._cookies: dict[str, str] = {}
        self._deadline = time.monotonic() + params["patience"]

    def request(self, method: str, path: str, form: dict[str, str] | None = None) -> Answer:
        while True:
            answer = self._once(method, path, form)
            if answer.status != TOO_MANY or time.monotonic() + PAUSE_SECONDS > self._deadline:
                return answer
            time.sleep(PAUSE_SECONDS)

    def _once(self, method: str, path: str, form: dict[str, str] | None) -> Answer:
        params = self._params
        host = params["domain"] if params["port"] == 443 else "{}:{}".format(params["domain"], params["port"])
        headers = {"Host": host, "Referer": f"https://{host}{path}", "User-Agent": "obcms-rollout-proof", "Accept": "*/*"}
        if self._cookies:
            headers["Cookie"] = "; ".join("{}={}".format(*pair) for pair in self._cookies.items())
        body = None
        if form is not None:
            body = urllib.parse.urlencode(form)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection = Connection(params["address"], params["port"], params["domain"], self._context, params["timeout"])
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            text = response.read().decode("utf-8", "replace")
            self._keep(response.headers.get_all("Set-Cookie") or [])
            return Answer(response.status, response.headers.get("Location") or "", text)
        finally:
            connection.close()

    def _keep(self, headers: list[str]) -> None:
        for header in headers:
            for name, morsel in http.cookies.SimpleCookie(header).items():
                self._cookies[name] = morsel.value


def log_in(browser: Browser, path: str, username: str, password: str) -> bool:
    """Whether the account comes in. A form that comes back with status 200 is a refusal."""
    page = browser.request("GET", path)
    token = TOKEN.search(page.text)
    if page.status != 200 or not token:
        raise ProofFailed("the login page answered {}{}".format(page.status, "" if token or page.status != 200 else " without a form"))
    answer = browser.request("POST", path, {"username": username, "password": password, "csrfmiddlewaretoken": token.group(1), "next": "/"})
    if answer.status in (302, 303) and not answer.location.startswith(path):
        return True
    if answer.status in (200, 302, 303, 401, 403):
        return False
    raise ProofFailed(f"the login answered {answer.status}")


def open_pages(browser: Browser, pages: list[str]) -> list[str]:
    """What was opened, in words; ProofFailed at the first page that is not a 200."""
    for page in pages:
        answer = browser.request("GET", page)
        if answer.status != 200:
            raise ProofFailed(f"{page} answered {answer.status} after the login")
    return ["{} answered 200".format(" and ".join(pages))] if pages else []


def look_around(browser: Browser, params: dict[str, Any], tenant: dict[str, Any]) -> str:
    """What the account sees, in words; Leak when it is another tenant's."""
    paths = params["paths"]
    opened = open_pages(browser, params["pages"])
    if tenant["code"] is None:
        return ", ".join(["logs in", *opened])
    me = browser.request("GET", paths["me"])
    seen = (me.json() or {}).get(params["field"]) if me.status == 200 else None
    if seen is None:
        raise ProofFailed("{} answered {} instead of the account".format(paths["me"], me.status))
    if seen != tenant["code"]:
        raise Leak("the account of {} sees the organisation {}".format(tenant["code"], seen))
    found = ["logs in", *opened, f"sees {seen}"]
    if tenant.get("own") is not None:
        own = browser.request("GET", "{}{}/".format(paths["records"], tenant["own"]))
        if own.status != 200:
            raise ProofFailed("its own record {} answered {}".format(tenant["own"], own.status))
        found.append("its own record")
    if tenant.get("other") is None:
        return ", ".join(found) + " (no other organisation with data to be kept from yet)"
    other = browser.request("GET", "{}{}/".format(paths["records"], tenant["other"]))
    if other.status == 200:
        raise Leak("the account of {} reads record {} of another organisation".format(tenant["code"], tenant["other"]))
    if other.status not in (403, 404):
        raise ProofFailed("record {} of another organisation answered {} instead of 404".format(tenant["other"], other.status))
    return ", ".join(found) + f", not another's ({other.status})"


def prove(params: dict[str, Any], tenant: dict[str, Any]) -> str:
    """What was proven, in words; ProofFailed otherwise."""
    browser = Browser(params)
    inside = log_in(browser, params["paths"]["login"], tenant["username"], tenant["password"])
    if params["expect"] == "refusal":
        if inside:
            raise ProofFailed("{} still comes in".format(tenant["username"]))
        return "cannot log in"
    if not inside:
        raise ProofFailed("{} cannot log in".format(tenant["username"]))
    return look_around(browser, params, tenant)


def proof_of(params: dict[str, Any], tenant: dict[str, Any]) -> dict[str, Any]:
    """One line of the result."""
    start = time.monotonic()
    ok, leak = False, False
    try:
        detail, ok = prove(params, tenant), True
    except ProofFailed as error:
        detail, leak = str(error), isinstance(error, Leak)
    except (OSError, http.client.HTTPException) as error:
        detail = "the balancer at {} did not answer: {}".format(params["address"], error)
    return {"code": tenant["code"], "ok": ok, "leak": leak, "detail": detail, "seconds": round(time.monotonic() - start, 1)}


def main() -> None:
    """Entry point of the Ansible module."""
    from ansible.module_utils.basic import AnsibleModule

    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "default": 443},
            "domain": {"type": "str", "required": True},
            "ca": {"type": "str"},
            # The task hides its arguments as a whole; hiding each word of them would blank the codes in the result as well.
            "tenants": {"type": "list", "elements": "dict", "required": True, "no_log": False},
            "expect": {"type": "str", "choices": ["entry", "refusal"], "default": "entry"},
            "paths": {"type": "dict", "default": {"login": "/login/", "me": "/api/me/", "records": "/api/records/"}},
            "pages": {"type": "list", "elements": "str", "default": []},
            "field": {"type": "str", "default": "organisation"},
            "patience": {"type": "int", "default": 90},
            "timeout": {"type": "int", "default": 20},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, proofs=[proof_of(module.params, tenant) for tenant in module.params["tenants"]])


if __name__ == "__main__":
    main()
