"""The GraphQL texts: every field in them is in the introspection of Admin API 2026-10."""

from typing import Final

_BAG = "fragment Bag on MoneyBag { presentmentMoney { amount currencyCode } }"
_PAYMENT = """
fragment Payment on OrderTransaction { id kind status gateway amountSet { ...Bag } parentTransaction { id } }
"""
_PAID = """
fragment Paid on Refund {
  id createdAt processedAt note return { id } totalRefundedSet { ...Bag }
  transactions(first: 5) { nodes { ...Payment } } refundLineItems(first: 5) { nodes { lineItem { id } } }
}
"""
_PIECE = """
fragment Piece on ReturnLineItemType {
  id quantity refundableQuantity processableQuantity customerNote returnReason returnReasonNote
  returnReasonDefinition { handle }
  ... on ReturnLineItem { fulfillmentLineItem { lineItem { id sku } } }
}
"""
_RETURNED = (
    """
fragment Returned on Return {
  id name status createdAt requestApprovedAt closedAt decline { reason note }
  returnLineItems(first: $lines) { nodes { ...Piece } pageInfo { hasNextPage endCursor } }
  exchangeLineItems(first: 1) { nodes { id } }
  reverseFulfillmentOrders(first: 2) { nodes { reverseDeliveries(first: 2) { nodes {
    id deliverable { ... on ReverseDeliveryShippingDeliverable { tracking { number carrierName url } } }
  } } } }
}
"""
    + _PIECE
)
_GOODS = """
fragment Goods on LineItem {
  id sku title variantTitle quantity originalUnitPriceSet { ...Bag }
  discountAllocations { allocatedAmountSet { ...Bag } }
}
"""
_ORDERED = (
    """
fragment Ordered on Order {
  id name email phone note tags createdAt updatedAt cancelledAt customerLocale paymentGatewayNames
  totalPriceSet { ...Bag } totalRefundedSet { ...Bag }
  customer { id displayName locale numberOfOrders tags }
  shippingAddress { name phone countryCodeV2 province city address1 address2 zip }
  lineItems(first: 20) { nodes { ...Goods } pageInfo { hasNextPage endCursor } }
  fulfillments(first: 5) { createdAt deliveredAt displayStatus estimatedDeliveryAt
    trackingInfo(first: 5) { number company url } }
}
"""
    + _GOODS
)

SHOP: Final = "query Shop { shop { name myshopifyDomain } }"
ORDER: Final = "query Order($id: ID!) { order(id: $id) { ...Ordered } }" + _ORDERED + _BAG
NEWEST: Final = (
    "query Newest($query: String!) { orders(first: 1, query: $query, sortKey: CREATED_AT, reverse: true)"
    " { nodes { ...Ordered } } }" + _ORDERED + _BAG
)
RETURN: Final = (
    "query Return($id: ID!, $lines: Int!) { return(id: $id) { ...Returned order { ...Ordered }"
    " refunds(first: 10) { nodes { ...Paid } } } }" + _RETURNED + _ORDERED + _PAID + _PAYMENT + _BAG
)
# The lines that the first page did not hold.
RETURN_LINES: Final = (
    "query ReturnLines($id: ID!, $lines: Int!, $after: String) { return(id: $id) {"
    " returnLineItems(first: $lines, after: $after) { nodes { ...Piece } pageInfo { hasNextPage endCursor } } } }"
    + _PIECE
)
ORDER_LINES: Final = (
    "query OrderLines($id: ID!, $lines: Int!, $after: String) { order(id: $id) {"
    " lineItems(first: $lines, after: $after) { nodes { ...Goods } pageInfo { hasNextPage endCursor } } } }"
    + _GOODS
    + _BAG
)
DECISION: Final = "query Decision($id: ID!) { return(id: $id) { id status requestApprovedAt decline { reason note } } }"
# What Shopify would pay for these pieces, tax and discounts included.
WORTH: Final = (
    """
query Worth($id: ID!, $pieces: [SuggestedOutcomeReturnLineItemInput!]!) { return(id: $id) {
  suggestedFinancialOutcome(returnLineItems: $pieces, exchangeLineItems: []) {
    financialTransfer { ... on RefundReturnOutcome { amount { ...Bag } } } } } }
"""
    + _BAG
)
RETURN_PAYMENTS: Final = (
    "query ReturnPayments($id: ID!, $lines: Int!) { return(id: $id) { id returnLineItems(first: $lines)"
    " { nodes { id processableQuantity } pageInfo { hasNextPage endCursor } } refunds(first: 50) { nodes { ...Paid } }"
    " order { id transactions(first: 50) { ...Payment } } } }" + _PAID + _PAYMENT + _BAG
)
ORDER_PAYMENTS: Final = (
    "query OrderPayments($id: ID!) { order(id: $id) { id transactions(first: 50) { ...Payment }"
    " refunds(first: 50) { ...Paid } } }" + _PAID + _PAYMENT + _BAG
)
RECENT: Final = (
    "query Recent($first: Int!, $after: String, $query: String!, $lines: Int!)"
    " { orders(first: $first, after: $after, query: $query, sortKey: UPDATED_AT) {"
    " pageInfo { hasNextPage endCursor } nodes { ...Ordered returns(first: 3) { nodes { ...Returned } }"
    " refunds(first: 3) { ...Paid } } } }" + _ORDERED + _RETURNED + _PAID + _PAYMENT + _BAG
)
APPROVE: Final = (
    "mutation Approve($input: ReturnApproveRequestInput!, $lines: Int!) { returnApproveRequest(input: $input)"
    " { return { ...Returned } userErrors { field message code } } }" + _RETURNED
)
DECLINE: Final = (
    "mutation Decline($input: ReturnDeclineRequestInput!, $lines: Int!) { returnDeclineRequest(input: $input)"
    " { return { ...Returned } userErrors { field message code } } }" + _RETURNED
)
PROCESS: Final = (
    "mutation Process($input: ReturnProcessInput!) { returnProcess(input: $input)"
    " { return { id refunds(first: 50) { nodes { ...Paid } } } userErrors { field message code } } }"
    + _PAID
    + _PAYMENT
    + _BAG
)
REFUND: Final = (
    "mutation Refund($input: RefundInput!, $key: String!) { refundCreate(input: $input) @idempotent(key: $key)"
    " { refund { ...Paid } userErrors { field message } } }" + _PAID + _PAYMENT + _BAG
)
REFUND_WITHOUT_KEY: Final = REFUND.replace(", $key: String!", "").replace(" @idempotent(key: $key)", "")
SUBSCRIPTIONS: Final = (
    "query Subscriptions($uri: String!) { webhookSubscriptions(first: 100, uri: $uri) { nodes { topic uri } } }"
)
SUBSCRIBE: Final = (
    "mutation Subscribe($topic: WebhookSubscriptionTopic!, $hook: WebhookSubscriptionInput!)"
    " { webhookSubscriptionCreate(topic: $topic, webhookSubscription: $hook)"
    " { webhookSubscription { id } userErrors { field message } } }"
)
CURRENCY: Final = "query Currency { shop { currencyCode } }"
COUPON: Final = (
    "mutation Coupon($input: DiscountCodeBasicInput!) { discountCodeBasicCreate(basicCodeDiscount: $input)"
    " { codeDiscountNode { id } userErrors { field message code } } }"
)
COUPON_BY_CODE: Final = "query CouponByCode($code: String!) { codeDiscountNodeByCode(code: $code) { id } }"
GIFT_CARD: Final = (
    "mutation GiftCard($input: GiftCardCreateInput!) { giftCardCreate(input: $input)"
    " { giftCard { id } giftCardCode userErrors { field message code } } }"
)
TAG: Final = (
    "mutation Tag($id: ID!, $tags: [String!]!) { tagsAdd(id: $id, tags: $tags)"
    " { node { id } userErrors { field message } } }"
)
