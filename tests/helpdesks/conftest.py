"""A real Request Tracker for the tests of this folder that ask for it."""

from rmabridge.testing.real_rt import rt_server

__all__ = ["rt_server"]
