"""Mail under every fault: a mail is sent once; where nobody can tell whether the server took it, a person says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faulty import Does, Stage, account, survives

from rmabridge.testing.simulators.faults import DOORS
from rmabridge.testing.simulators.mail import MailSim
from rmabridge.testing.simulators.sink import Sink


def configure(config: dict[str, Any], sim: MailSim) -> None:
    config["channels"]["mail"] = account(sim)


async def written(stage: Stage) -> None:
    words = {"form": "mail", "to": "buyer@example.com", "subject": "Your return", "text": "Send it back."}
    await stage.act(type="message.send", account="mail", purpose="m1", **words)


MAIL = Does(
    MailSim, configure, written, key="m1", settled="person", happened=lambda sim: len(sim.books["mails"]),
    definite=frozenset({"500"}),  # 451: the server says that it did not take the mail
)  # fmt: skip


@pytest.mark.parametrize("fault", DOORS)
async def test_a_mail_is_sent_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(MAIL, fault, tmp_path, sink)
