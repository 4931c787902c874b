"""restore_loss: what pg_waldump shows becomes the times of transactions."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "library"))
import restore_loss

# Of PostgreSQL 17, with a transaction that ended in a rollback and one that names what it dropped.
SHOWN = """\
rmgr: Transaction len (rec/tot):     34/    34, tx:       3023, lsn: 0/5B0000A0, prev 0/5B000028, desc: COMMIT 2026-11-26 21:22:31.606749 UTC
rmgr: Transaction len (rec/tot):     34/    34, tx:       3024, lsn: 0/5B000140, prev 0/5B0000C8, desc: ABORT 2026-11-26 21:22:31.627185 UTC
rmgr: Transaction len (rec/tot):    146/   146, tx:       3025, lsn: 0/5B0001E0, prev 0/5B0, desc: COMMIT 2026-11-26 21:22:32.5 UTC; rels: base/5/1
"""


def test_every_commit_has_a_time() -> None:
    assert list(restore_loss.times(SHOWN)) == [1795728151.606749, 1795728152.5]
