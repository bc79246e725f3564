"""The real mail server, for the tests of channels."""

from rmabridge.testing.real_imap import imap_server

__all__ = ["imap_server"]
