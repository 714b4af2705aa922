"""One-time passwords by time: six digits of a secret that a user's credentials of type `totp` hold, in base 32.

A code is good for its half minute, and for as many before as the operator says, since clocks differ and people type.
It may be used again in that time, as in Keystone: a client logs in for every command.
Source: RFC 6238; keystone 30.0, auth/plugins/totp.py.
"""

from __future__ import annotations

import base64
import hmac
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from deuteron.rules.identity import rows
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.identity_tables import credentials

TYPE: Final = "totp"
DIGITS: Final = 6
PERIOD_S: Final = 30


def codes(secret: str, now_s: float, before: int) -> list[str]:
    """The codes that are good now, and those of `before` earlier half minutes.

    None of a secret that is not base 32, or shorter than 16 bytes.
    """
    try:
        made = TOTP(base64.b32decode(secret + "=" * (-len(secret) % 8)), DIGITS, SHA1(), PERIOD_S)
    except ValueError:
        return []
    return [made.generate(int(now_s) - back * PERIOD_S).decode() for back in range(before + 1)]


def proving(tx: Tx, user_id: str, code: str, before: int) -> rows.Secret | None:
    """The user's credential whose code this is; None when there is none."""
    for row in query.rows(tx, credentials, credentials.c.user_id == user_id, credentials.c.type == TYPE):
        good = codes(row["blob"], tx.now.timestamp(), before)
        if any(hmac.compare_digest(each.encode(), code.encode(errors="replace")) for each in good):
            return rows.Secret(row["id"], row["blob"])
    return None
