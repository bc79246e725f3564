"""The vocabularies of events, actions and cases: one word for one thing, whatever a vendor calls it."""

from __future__ import annotations

from enum import StrEnum


class CaseKind(StrEnum):
    """What the customer asks for."""

    RETURN = "return"
    EXCHANGE = "exchange"
    REFUND = "refund"
    REPAIR = "repair"
    COMPLAINT = "complaint"
    QUESTION = "question"


class Issue(StrEnum):
    """What is wrong: the cause that decides the routing."""

    QUALITY_DEFECT = "quality_defect"
    NOT_AS_DESCRIBED = "not_as_described"
    WRONG_ITEM = "wrong_item"
    MISSING_PARTS = "missing_parts"
    DAMAGED_IN_TRANSIT = "damaged_in_transit"
    LATE_DELIVERY = "late_delivery"
    LOST_PARCEL = "lost_parcel"
    WRONG_CARRIER = "wrong_carrier"
    RETURN_REQUEST = "return_request"
    EXCHANGE_REQUEST = "exchange_request"
    REFUND_STATUS = "refund_status"
    CANCEL_ORDER = "cancel_order"
    CHANGE_ORDER = "change_order"
    WARRANTY_REPAIR = "warranty_repair"
    INVOICE_PAYMENT = "invoice_payment"
    SERVICE_ATTITUDE = "service_attitude"
    COUNTERFEIT = "counterfeit"
    NEGATIVE_REVIEW = "negative_review"
    MALICIOUS_EXTORTION = "malicious_extortion"
    SAFETY_CRISIS = "safety_crisis"
    MEDIA_MASS_RISK = "media_mass_risk"
    PRODUCT_QUESTION = "product_question"
    TRACKING_QUERY = "tracking_query"
    PRICE_ADJUSTMENT = "price_adjustment"
    HUMAN_AGENT = "human_agent"
    OTHER = "other"


class RequestStatus(StrEnum):
    """Where the marketplace's return, refund or exchange request stands."""

    REQUESTED = "requested"
    APPROVED = "approved"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    CLOSED = "closed"


class RefundStatus(StrEnum):
    """``pending``: started, money may still be on its way; ``done``: paid; ``failed``: not paid."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


class RemedyKind(StrEnum):
    """What is given to the customer."""

    RETURN_REFUND = "return_refund"
    REFUND_ONLY = "refund_only"
    PARTIAL_REFUND = "partial_refund"
    RETURN_ONLY = "return_only"
    EXCHANGE = "exchange"
    RESHIP = "reship"
    REPAIR = "repair"
    COUPON = "coupon"
    GIFT_CARD = "gift_card"
    GIFT = "gift"
    PRIORITY = "priority"
    WARRANTY = "warranty"
    LETTER = "letter"
    NONE = "none"


class ClaimKind(StrEnum):
    """What a carrier or insurer is held to account for."""

    DAMAGE = "damage"
    LOSS = "loss"
    PARTIAL_LOSS = "partial_loss"
    DELAY = "delay"


class ClaimStatus(StrEnum):
    """Where a claim stands: draft, submitted, in review, information requested, decided, paid, or appealed."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    IN_REVIEW = "in_review"
    INFO_REQUESTED = "info_requested"
    APPROVED = "approved"
    PARTIAL = "partial"
    REJECTED = "rejected"
    APPEALED = "appealed"
    PAID = "paid"
    WITHDRAWN = "withdrawn"


class EvidenceKind(StrEnum):
    """What a piece of evidence is."""

    PHOTO = "photo"
    VIDEO = "video"
    DOCUMENT = "document"
    PROOF = "proof"
    SCAN = "scan"
    RECORD = "record"


class Identity(StrEnum):
    """Whether the writer is the buyer of the order: checked and right, checked and wrong, or not to be told."""

    VERIFIED = "verified"
    MISMATCH = "mismatch"
    UNKNOWN = "unknown"
