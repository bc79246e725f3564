"""The functional core: pure functions from events to cases and from cases to proposals. No I/O, no clock."""
