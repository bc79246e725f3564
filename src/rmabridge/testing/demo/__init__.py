"""The demo: a bridge among small servers that speak the vendors' wire formats, and four stories told as they happen."""
