"""How a session is rotated, once that is checked."""

from __future__ import annotations

from dataclasses import dataclass

from .arguments import check_flag, check_required
from .errors import Invalid
from .patch import Patch
from .rules import Rules


@dataclass(frozen=True)
class Rotation:
    """Whose a session is then, and what is changed in the same step."""

    #: `None`: whose it is, or nobody's.
    user: str | None
    is_anonymous: bool
    keeps_deadline: bool
    patch: Patch

    def __post_init__(self) -> None:
        check_flag("anonymous", self.is_anonymous)
        check_flag("keep_deadline", self.keeps_deadline)
        if self.user == "":
            raise Invalid("user", "is empty: use anonymous=True for a logout")
        if self.user is not None:
            check_required(user=self.user)
            if self.is_anonymous:
                raise Invalid("anonymous", "makes it nobody's, and user somebody's")

    def lifetime_ms(self, rules: Rules) -> int | None:
        """How long the session lives at most from now on, 0 for no limit. `None`: its deadline stays."""
        if self.patch.lifetime_ms is not None:
            return self.patch.lifetime_ms
        if (self.user is None and not self.is_anonymous) or self.keeps_deadline:
            return None
        return rules.lifetime_ms
