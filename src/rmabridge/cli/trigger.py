"""``rmabridge trigger``: send a signed sample webhook to the running bridge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from . import PROBLEM
from .app import App, command
from .output import said

if TYPE_CHECKING:
    from ..abilities import WebRequest


@click.command()
@click.argument("account")
@click.argument("event", required=False)
@click.option("--url", help="Where the bridge runs; from the configuration if left out.")
@command
def trigger(app: App, account: str, event: str | None, url: str | None) -> None:
    """Send a signed sample webhook, as the platform would."""
    from .lending import base_url, now_of

    request = _sample(app, account, event, now_of(app))
    status, answer = _post(f"{base_url(app, url)}/hooks/{account}", request)
    said(app, f"{status} {answer}", account=account, event=event, status=status, answer=answer)
    if not 200 <= status < 300:
        click.get_current_context().exit(PROBLEM)


def _sample(app: App, account: str, event: str | None, now: Any) -> WebRequest:
    from ..abilities import ReceivesWebhooks
    from ..errors import CommandError

    plugin = app.account(account)
    names = plugin.samples() if isinstance(plugin, ReceivesWebhooks) else ()
    if not names:
        raise CommandError(f"{account}: {plugin.plugin} has no samples (or lacks the secret or body for them)")
    found: WebRequest | None = plugin.sample(event, now) if event else None
    if found is None:
        raise CommandError(f"{account}: there is no sample {event or ''!r}; there are {', '.join(names)}")
    return found


def _post(url: str, request: WebRequest) -> tuple[int, str]:
    import httpx

    from ..errors import CommandError

    try:
        with httpx.Client(trust_env=False, timeout=15) as client:
            answer = client.request(
                request.method,
                url,
                params=dict(request.query) or None,
                headers=dict(request.headers),
                content=request.body,
            )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CommandError(f"{url}: {error or type(error).__name__}; is 'rmabridge serve' running?") from error
    return answer.status_code, answer.text[:500]
