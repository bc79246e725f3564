"""A real queue with SQS's wire format: moto's server, which checks signatures as AWS does where it is told to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen

from rmabridge.testing.simulators.amazon_clouds import sigv4

KEYS = ("AKIDSIM", "queue-secret-of-sim")


class Queue:
    """One queue of a running server."""

    def __init__(self, root: str, name: str = "rma") -> None:
        self.root, self.name = root, name.replace("[", "-").replace("]", "").replace(" ", "-")[:80]
        self.url = self.call("CreateQueue", QueueName=self.name)["QueueUrl"]

    def call(self, action: str, **params: Any) -> dict[str, Any]:
        """A signed call, by the standard library alone."""
        stamp, host = "20260102T120000Z", self.root.removeprefix("http://")
        body = json.dumps(params).encode()
        headers = {
            "host": host,
            "x-amz-date": stamp,
            "x-amz-target": f"AmazonSQS.{action}",
            "content-type": "application/x-amz-json-1.0",
        }
        mark = sigv4(KEYS[1], "us-east-1", stamp, headers, body)
        scope = f"Credential={KEYS[0]}/{stamp[:8]}/us-east-1/sqs/aws4_request"
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 {scope}, SignedHeaders={';'.join(sorted(headers))}, Signature={mark}"
        )
        with urlopen(Request(f"{self.root}/", body, headers, method="POST"), timeout=10) as answer:
            told: dict[str, Any] = json.loads(answer.read() or b"{}")
        return told

    def send(self, text: str) -> None:
        """Put a message into the queue."""
        self.call("SendMessage", QueueUrl=self.url, MessageBody=text)

    def user(self) -> tuple[str, str]:
        """An access key that may use queues."""
        import boto3

        keys = {"aws_access_key_id": KEYS[0], "aws_secret_access_key": KEYS[1], "region_name": "us-east-1"}
        iam, name = boto3.client("iam", endpoint_url=self.root, **keys), "bridge"
        iam.create_user(UserName=name)
        allowed = {"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        iam.put_user_policy(UserName=name, PolicyName="queues", PolicyDocument=policy)
        made = iam.create_access_key(UserName=name)["AccessKey"]
        iam.close()
        return made["AccessKeyId"], made["SecretAccessKey"]

    @contextmanager
    def strict(self) -> Iterator[None]:
        """From now on the server checks signatures and rights."""
        self._checked_from(0)
        try:
            yield
        finally:
            self._checked_from(float("inf"))

    def _checked_from(self, count: float) -> None:
        plain = {"Content-Type": "text/plain"}
        asked = Request(f"{self.root}/moto-api/reset-auth", str(count).encode(), plain, method="POST")
        with urlopen(asked, timeout=10) as answer:
            answer.read()

    def show_again(self) -> None:
        """What was read and not deleted can be read again at once."""
        from moto.sqs.models import sqs_backends

        for backends in sqs_backends.values():
            for queue in backends["us-east-1"].queues.values():
                for one in queue._messages:
                    one.visible_at = 0

    def left(self) -> int:
        """How many messages are in the queue, read or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        told = self.call("GetQueueAttributes", QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return sum(int(told[one]) for one in names)


@contextmanager
def a_queue() -> Iterator[Queue]:
    """A server with one queue, for one test."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield Queue(f"http://{host}:{port}")
    finally:
        _forget()
        server.stop()


def _forget() -> None:
    from moto.sqs.models import sqs_backends

    for backends in sqs_backends.values():
        for backend in backends.values():
            backend.reset()
