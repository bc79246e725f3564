"""What can go wrong, sorted by what the bridge does next.

::

    RmabridgeError
    ├── ConfigError        stop at start-up: the operator changes the named setting
    ├── CommandError       tell the caller: the command cannot be carried out as given
    ├── Refused            answer the webhook with ``status`` and a JSON problem body; nothing is stored
    │   ├── Malformed          400  the body cannot be read
    │   ├── Unverified         401  the signature, its time or its nonce is not good
    │   ├── UnknownAccount     404  no such door
    │   ├── TooLarge           413  more bytes than the account allows
    │   ├── WrongType          415  a content type this account does not take
    │   ├── TooMany            429  this account's own intake limit
    │   └── Overloaded         503  the queue is full; come back after ``retry_after`` seconds
    └── DeliveryError      a plugin could not carry out a delivery, and the vendor said so
        ├── Unavailable        try later (``retry_after`` seconds where the vendor named them)
        ├── Unauthorised       stop this account and tell the operator
        └── Rejected           do not try again: a person must look

A plugin raises the last three, or lets ``response.raise_for_status()`` speak. It never catches what it cannot mend: a
broken connection reaches the bridge as it is, because only the bridge knows whether the request had already left.
"""

from __future__ import annotations


class RmabridgeError(Exception):
    """Everything the bridge raises on purpose."""


class ConfigError(RmabridgeError):
    """A setting is missing or wrong; the text names it as ``[section] field: reason``."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class CommandError(RmabridgeError):
    """A command or API call cannot be carried out as it was given."""


class Refused(RmabridgeError):
    """A webhook is not accepted; ``status`` is the HTTP answer."""

    status = 400
    title = "Bad request"

    def __init__(self, detail: str = "", *, retry_after: int | None = None) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.retry_after = retry_after


class Malformed(Refused):
    """The body cannot be read as what it claims to be."""

    title = "Malformed body"


class Unverified(Refused):
    """The signature, its time stamp or its nonce is not good."""

    status = 401
    title = "Signature not accepted"


class KeyNeeded(Exception):
    """``verify`` lacks a public key: ``name`` is what the account's ``learn`` is asked to fetch."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class UnknownAccount(Refused):
    """No account of this name receives webhooks."""

    status = 404
    title = "No such account"


class TooLarge(Refused):
    """The body is larger than the account allows."""

    status = 413
    title = "Body too large"


class WrongType(Refused):
    """The account does not take this content type."""

    status = 415
    title = "Content type not accepted"


class TooMany(Refused):
    """The account's own intake limit is reached."""

    status = 429
    title = "Too many requests"


class Overloaded(Refused):
    """The queue is full or the disk refuses; the sender keeps the event and comes back."""

    status = 503
    title = "Not now"


class DeliveryError(RmabridgeError):
    """The vendor answered, and the answer is a refusal: the effect did not happen."""

    def __init__(self, cause: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(cause)
        self.cause = cause
        self.hint = hint
        self.retry_after = retry_after


class Unavailable(DeliveryError):
    """The vendor is busy or down: the bridge tries again on the account's schedule."""


class Unauthorised(DeliveryError):
    """The vendor does not accept our credentials: the bridge pauses the account and alerts the operator."""


class Rejected(DeliveryError):
    """The vendor refuses this very request: it becomes a dead letter for a person to read."""
