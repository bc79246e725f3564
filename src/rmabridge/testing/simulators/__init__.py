"""Small separate servers that speak the vendors' wire formats, keep their own books and refuse what the vendor refuses.

A simulator imports neither the plugin nor ``rmabridge.wire``: it signs and checks with its own few lines, so that a
mistake in the bridge cannot hide in a copy of itself.
"""
