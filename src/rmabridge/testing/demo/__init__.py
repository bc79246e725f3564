"""The demo: a bridge among small servers that speak the vendors' formats, and eight stories told as they happen."""
