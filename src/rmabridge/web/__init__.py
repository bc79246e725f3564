"""The aiohttp application: webhooks in, health and metrics out."""
