"""Shopify: coupons, gift cards and tags, against the simulator over HTTP."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from rmabridge_shopify import Shopify

from rmabridge.abilities import Context
from rmabridge.errors import Rejected
from rmabridge.model import FetchOrder, GiveCredit, Money, OrderSeen, TagBuyer
from rmabridge.testing.contexts import account, context
from rmabridge.testing.simulators.shopify import ShopifySim

COUPON = GiveCredit(credit="coupon", external="C1", amount=Money.of("20.00 USD"), valid_days=30)


@pytest.fixture
async def sim() -> AsyncIterator[ShopifySim]:
    async with ShopifySim() as one:
        yield one


@pytest.fixture
async def ctx() -> AsyncIterator[Context]:
    lent = context(now=lambda: datetime.now(UTC))
    yield lent
    await lent.http.aclose()


def shopify(sim: ShopifySim, **settings: object) -> Shopify:
    held = {"shop": sim.shop, "secret": sim.secret, "access_token": sim.access_token, "url": sim.url}
    return account(Shopify, **held, **settings)


async def test_a_coupon_is_a_discount_code_made_once(sim: ShopifySim, ctx: Context) -> None:
    shop = shopify(sim)
    assert (await shop.find_credit(COUPON, ctx)).happened is False
    first = await shop.give_credit(COUPON, ctx)
    again = await shop.give_credit(COUPON, ctx)
    assert first.id == again.id and first.id.startswith("SORRY")
    ((code, made),) = sim.books["coupons"].items()
    assert code == first.id
    assert made["customerGets"]["value"]["discountAmount"] == {"amount": "20.00", "appliesOnEachItem": False}
    assert "minimumRequirement" not in made and made["usageLimit"] == 1
    found = await shop.find_credit(COUPON, ctx)
    assert (found.happened, found.result.id) == (True, code)
    assert not shop.route(COUPON).repeatable


async def test_a_coupon_for_one_customer_may_need_an_order_value(sim: ShopifySim, ctx: Context) -> None:
    mine = COUPON.model_copy(update={"buyer": "701", "floor": Money.of("50 USD")})
    await shopify(sim, code_prefix="").give_credit(mine, ctx)
    (made,) = sim.books["coupons"].values()
    assert made["context"] == {"customers": {"add": ["gid://shopify/Customer/701"]}}
    assert made["minimumRequirement"] == {"subtotal": {"greaterThanOrEqualToSubtotal": "50"}}


async def test_credit_in_another_currency_is_refused_before_anything_is_made(sim: ShopifySim, ctx: Context) -> None:
    for credit in ("coupon", "gift_card"):
        yuan = COUPON.model_copy(update={"credit": credit, "amount": Money.of("20 CNY")})
        with pytest.raises(Rejected, match="USD"):
            await shopify(sim).give_credit(yuan, ctx)
    assert not sim.books["coupons"] and not sim.books["gift_cards"]


async def test_a_gift_card_has_our_code_and_is_never_made_twice(sim: ShopifySim, ctx: Context) -> None:
    card = COUPON.model_copy(update={"credit": "gift_card"})
    made = await shopify(sim).give_credit(card, ctx)
    assert list(sim.books["gift_cards"]) == [made.id] and 8 <= len(made.id) <= 20
    with pytest.raises(Rejected):
        await shopify(sim).give_credit(card, ctx)
    assert (await shopify(sim).find_credit(card, ctx)).happened is None


def test_store_credit_is_left_to_other_accounts() -> None:
    shop = account(Shopify, shop="demo.myshopify.com", secret="s", access_token="t")
    assert shop.route(COUPON.model_copy(update={"credit": "store_credit"})) is None


@pytest.mark.row("S100")
async def test_after_a_coupon_the_next_order_of_a_tagged_buyer_shows_its_priority(
    sim: ShopifySim, ctx: Context
) -> None:
    first = sim.do_place_order("1001")
    buyer = sim.books["orders"][first["order"]]["customer"]
    shop = shopify(sim, tier_tags=["priority"])
    assert (await shop.give_credit(COUPON.model_copy(update={"buyer": buyer}), ctx)).id in sim.books["coupons"]
    await shop.tag_buyer(TagBuyer(buyer=buyer, tag="priority"), ctx)
    await shop.tag_buyer(TagBuyer(buyer=buyer, tag="priority"), ctx)
    assert sim.books["tags"] == {buyer: ["priority"]}
    other = sim.do_place_order("1002")
    again = sim.do_place_order("1003", customer=buyer)
    tiers = {}
    for placed in (other, again):
        fetched = await shop.fetch_order(FetchOrder(order=placed["order"]), ctx)
        (seen,) = [one for one in fetched.events if isinstance(one, OrderSeen)]
        tiers[placed["order"]] = seen.buyer.tier
    assert tiers == {other["order"]: None, again["order"]: "priority"}


@pytest.mark.parametrize("buyer", ["nobody", "999"])
async def test_a_customer_that_is_not_there_is_not_tagged(sim: ShopifySim, ctx: Context, buyer: str) -> None:
    with pytest.raises(Rejected):
        await shopify(sim).tag_buyer(TagBuyer(buyer=buyer, tag="x"), ctx)
