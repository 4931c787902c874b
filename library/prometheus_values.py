#!/usr/bin/python
"""Single values from Prometheus. What has no value is reported as such and never invented."""

from __future__ import annotations

import json
import math
import ssl
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

DOCUMENTATION = r"""
---
module: prometheus_values
short_description: Asks Prometheus for the value of each of several queries
description:
  - Each query must give one sample. Without one, with several, or with C(NaN), the value is null and C(errors) says why.
  - Never fails, because a gate that has no value does not pass, and the table of gates says so.
  - Needs Python 3.9 and nothing else.
options:
  url:
    description: Address of Prometheus.
    type: str
    required: true
  queries:
    description: Name to query.
    type: dict
    required: true
  ca:
    description: Certificate of the authority that Prometheus' certificate is checked against.
    type: path
  certificate:
    description: Certificate shown to Prometheus.
    type: path
  key:
    description: Key of O(certificate).
    type: path
  timeout:
    description: Seconds for each query.
    type: int
    default: 10
author: the OBCMS platform team
"""

EXAMPLES = r"""
- name: Ask for the errors of the last hour
  prometheus_values:
    url: https://10.40.0.61:9090
    ca: /etc/obcms/pki/ca.crt
    queries: {errors: 'sum(rate(http_requests_total{status=~"5.."}[1h]))'}
"""

RETURN = r"""
values:
  description: Name to number, null where there is no value.
  returned: always
  type: dict
errors:
  description: Name to reason for each query without a value.
  returned: always
  type: dict
"""


class NoValue(Exception):
    """Why a query has no value."""


def value_of(answer: Any) -> float:
    """The one number in an answer of Prometheus."""
    if not isinstance(answer, dict) or answer.get("status") != "success":
        raise NoValue(str((answer or {}).get("error", "Prometheus gave no answer that can be read")))
    result = answer["data"]["result"]
    if answer["data"]["resultType"] == "scalar":
        result = [{"value": result}]
    if not result:
        raise NoValue("no data")
    if len(result) > 1:
        raise NoValue(f"{len(result)} values instead of one")
    value = float(result[0]["value"][1])
    if math.isnan(value):
        raise NoValue("not a number: nothing was measured")
    return value


def ask(opener: urllib.request.OpenerDirector, url: str, query: str, timeout: int) -> float:
    """Value of one query."""
    body = urllib.parse.urlencode({"query": query}).encode()
    try:
        with opener.open(url.rstrip("/") + "/api/v1/query", data=body, timeout=timeout) as response:
            return value_of(json.load(response))
    except urllib.error.HTTPError as error:
        raise NoValue("HTTP {}: {}".format(error.code, error.read(300).decode("utf-8", "replace").strip())) from error
    except (OSError, ValueError, KeyError) as error:
        raise NoValue(f"no answer from Prometheus: {error}") from error


def opener_for(ca: str | None, certificate: str | None, key: str | None) -> urllib.request.OpenerDirector:
    """Verifies Prometheus' certificate, shows ours, and asks no proxy."""
    context = ssl.create_default_context(cafile=ca)
    if certificate:
        context.load_cert_chain(certificate, key)
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))


def answers(params: dict[str, Any]) -> dict[str, Any]:
    """The result of the module."""
    values: dict[str, float | None] = {}
    errors: dict[str, str] = {}
    try:
        opener = opener_for(params["ca"], params["certificate"], params["key"])
    except OSError as error:
        reason = f"no certificates to ask Prometheus with: {error}"
        return {"changed": False, "values": dict.fromkeys(params["queries"]), "errors": dict.fromkeys(params["queries"], reason)}
    for name, query in params["queries"].items():
        try:
            values[name] = ask(opener, params["url"], query, params["timeout"])
        except NoValue as error:
            values[name], errors[name] = None, str(error)
    return {"changed": False, "values": values, "errors": errors}


def main() -> None:
    """Entry point of the Ansible module."""
    from ansible.module_utils.basic import AnsibleModule

    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "queries": {"type": "dict", "required": True},
            "ca": {"type": "path"},
            "certificate": {"type": "path"},
            "key": {"type": "path", "no_log": False},
            "timeout": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    module.exit_json(**answers(module.params))


if __name__ == "__main__":
    main()
