"""What a small Amazon says by itself: messages in the seller's queue (SQS), and signed ones by SNS."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from aiohttp import ClientSession, web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from .server import Simulator

SIGNED = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
CERTIFICATE = "/SimpleNotificationService-sim.pem"


def sns_text(message: dict[str, str]) -> str:
    """The text that SNS signs."""
    return "".join(f"{name}\n{message[name]}\n" for name in SIGNED if name in message)


def sigv4(secret: str, region: str, stamp: str, headers: dict[str, str], body: bytes) -> str:
    """The signature of a POST to the root of SQS."""
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    digest = hashlib.sha256(body).hexdigest()
    canonical = f"POST\n/\n\n{lines}\n{';'.join(sorted(headers))}\n{digest}"
    scope = f"{stamp[:8]}/{region}/sqs/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


class AmazonClouds(Simulator):
    """Sends what happened to the queue, to the topic's subscriber, or to both."""

    topic = "arn:aws:sns:us-east-1:123456789012:rma"

    def __init__(
        self,
        *,
        hook: str | None = None,
        queue_url: str | None = None,
        queue_key: tuple[str, str] = ("AKIDSIM", "queue-secret-of-sim"),
        region: str = "us-east-1",
        sns_version: str = "2",
    ) -> None:
        super().__init__(hook=hook)
        self.queue_url, self.queue_key, self.region = queue_url, queue_key, region
        self.sns_version = sns_version
        self.books |= {"sent": [], "confirmed": [], "certificates": 0}
        self._numbers = 0
        self.do_renew_certificate()

    def do_renew_certificate(self) -> None:
        """Another key signs from now on, under the same address."""
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        named = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.amazonaws.com")])
        made = (
            x509.CertificateBuilder()
            .subject_name(named)
            .issuer_name(named)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now() - timedelta(days=3650))
            .not_valid_after(self.now() + timedelta(days=3650))
            .sign(self.key, hashes.SHA256())
        )
        self.pem = made.public_bytes(serialization.Encoding.PEM)

    def account_settings(self) -> dict[str, Any]:
        """Certificates come from here, and so does the address that confirms a subscription; the queue is its own."""
        here = f"{re.escape(self.url)}/.*"
        found = {**super().account_settings(), "certificates": here, "confirmations": here, "topics": [self.topic]}
        if self.queue_url:
            key, secret = self.queue_key
            found |= {"queue_url": self.queue_url, "queue_key_id": key, "queue_secret": secret}
        return found

    def cloud_routes(self) -> list[web.RouteDef]:
        """The certificate, and the address by which a subscription is confirmed."""
        return [web.get(CERTIFICATE, self._certificate), web.get("/", self._confirm)]

    async def _certificate(self, _: web.Request) -> web.Response:
        self.books["certificates"] += 1
        return web.Response(body=self.pem, content_type="application/x-pem-file")

    async def _confirm(self, request: web.Request) -> web.Response:
        if request.query.get("Action") != "ConfirmSubscription" or request.query.get("TopicArn") != self.topic:
            return web.Response(status=400, text="<ErrorResponse><Error><Code>InvalidParameter</Code></Error>")
        self.books["confirmed"].append(request.query.get("Token"))
        return web.Response(text="<ConfirmSubscriptionResponse/>", content_type="text/xml")

    def number(self) -> int:
        """The next number of anything that needs one."""
        self._numbers += 1
        return self._numbers

    def uuid(self) -> str:
        """An id in the form of a UUID."""
        return f"00000000-1111-4222-8333-{self.number():012d}"

    async def tell(self, notification: dict[str, Any]) -> int:
        """Send a notification; what SNS's subscriber answered, or 200 for the queue."""
        self.books["sent"].append(notification)
        told, status = json.dumps(notification, ensure_ascii=False), 0
        if self.queue_url:
            status = await self._enqueue(told)
        if self.hook:
            status = await self._publish("Notification", told)
        return status

    async def do_tell_again(self) -> int:
        """The last notification comes once more."""
        return await self.tell(self.books["sent"].pop())

    async def do_subscribe(self) -> int:
        """The seller subscribes the hook to the topic: SNS asks it to confirm."""
        return await self._publish("SubscriptionConfirmation", "You have chosen to subscribe to the topic.")

    async def do_unsubscribe(self) -> int:
        """The subscription ends."""
        return await self._publish("UnsubscribeConfirmation", "You have chosen to deactivate the subscription.")

    async def _publish(self, kind: str, text: str) -> int:
        body = json.dumps(self.message(kind, text), ensure_ascii=False).encode()
        headers = {"Content-Type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": kind}
        return await self.deliver(body, headers)

    def message(self, kind: str, text: str, **more: str) -> dict[str, str]:
        """A message as SNS signs it."""
        token = f"token-{self.number()}"
        query = urlencode({"Action": "ConfirmSubscription", "TopicArn": self.topic, "Token": token})
        asked = {"Token": token, "SubscribeURL": f"{self.url}/?{query}"} if kind != "Notification" else {}
        told = {
            "Type": kind, "MessageId": self.uuid(), "TopicArn": self.topic, "Message": text,
            "Timestamp": self.now().strftime("%Y-%m-%dT%H:%M:%S.000Z"), **asked, **more,
        }  # fmt: skip
        digest = hashes.SHA1() if self.sns_version == "1" else hashes.SHA256()  # noqa: S303 - what version 1 is
        mark = self.key.sign(sns_text(told).encode(), padding.PKCS1v15(), digest)
        signed = {"SignatureVersion": self.sns_version, "Signature": base64.b64encode(mark).decode()}
        return told | signed | {"SigningCertURL": f"{self.url}{CERTIFICATE}"}

    async def _enqueue(self, text: str) -> int:
        assert self.queue_url is not None
        parts, stamp = urlsplit(self.queue_url), self.now().strftime("%Y%m%dT%H%M%SZ")
        body = json.dumps({"QueueUrl": self.queue_url, "MessageBody": text}).encode()
        headers = {
            "host": parts.netloc, "x-amz-date": stamp, "x-amz-target": "AmazonSQS.SendMessage",
            "content-type": "application/x-amz-json-1.0",
        }  # fmt: skip
        key, secret = self.queue_key
        mark = sigv4(secret, self.region, stamp, headers, body)
        scope = f"Credential={key}/{stamp[:8]}/{self.region}/sqs/aws4_request"
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 {scope}, SignedHeaders={';'.join(sorted(headers))}, Signature={mark}"
        )
        root = f"{parts.scheme}://{parts.netloc}/"
        async with ClientSession() as client, client.post(root, data=body, headers=headers) as answer:
            if answer.status != 200:
                raise RuntimeError(f"the queue answers {answer.status}: {await answer.text()}")
            return answer.status
