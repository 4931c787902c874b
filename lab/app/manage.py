#!/usr/bin/env python3
"""Run Django's management commands with the reference application's settings."""

import os
import sys


def main() -> None:
    # Answers go to stdout; what a command logs must not mix with them.
    os.environ.setdefault("OBCMS_LOG_STDERR", "1")
    # A command is not scraped: it must not take a slot among the workers.
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "obcms.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
