"""``classify``: what a message is about, how serious and how angry it is, and why: a pure function of its text.

Two voices are added up: the weights of the phrases that stand in it, and a linear model over its n-grams. Where the
best two classes lie too close together it abstains. A crisis does not hang on that: it has a threshold of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

from rmabridge.model import Issue

from .entities import Entities, entities
from .lexicon import Hit, Lexicon
from .weights import Linear
from .words import FARTHEST, LONGEST, language, lines, read, shorten, spell

# How much a phrase's weight says beside the model's log probability, as measured on the development set.
TRUST: Final = 0.35
CEILING: Final = 12.0
# Where 95 of 100 answers were right, and a little over half were given, on templates that were kept out of training.
MARGIN: Final = 2.0
CRISIS: Final = frozenset({"SC", "MM"})
_CRISES: Final = sorted(CRISIS)
CRISIS_WEIGHT: Final = 7.0
# There, the model alone finds 80 of 100 crises by this, for 4 false alarms in 100; with the phrases it finds 86.
CRISIS_ODDS: Final = 0.2
SERIOUS: Final = frozenset({"LP", "CF", "NR", "MX"})
REQUESTS: Final = frozenset({"RR", "ER", "RS", "CO"})
SECOND: Final = 6.0
_CAPITALS: Final = re.compile(r"\b[A-Z]{4,}\b")
# Far quicker than the words that they may make.
_FOUR_CAPITALS: Final = re.compile("[A-Z]{4}")
_SHOUTS: Final = re.compile(r"[!！]{2,}|[?？]{3,}")
_COMPLAINTS: Final = frozenset({"QD", "ND", "WI", "MP", "DT", "LD", "LP", "WC", "SA", "CF", "NR", "MX", "SC", "MM"})


class Kind(NamedTuple):
    """A class of the lists: its issue, the family of complaints it belongs to and the sub-cause it names."""

    issue: Issue
    family: str | None
    sub: str | None


class Heard(NamedTuple):
    """The phrases of a text, their weights, the model's word, and the crises among them."""

    hits: list[Hit]
    weights: dict[str, float]
    logs: dict[str, float]
    crisis: list[str]


@dataclass(frozen=True, slots=True)
class Triage:
    """What a message says. ``issue`` is None where the two best guesses lie closer than the margin."""

    issue: Issue | None = None
    also: tuple[Issue, ...] = ()
    guess: Issue = Issue.OTHER
    level: int = 1
    anger: int = 0
    language: str = "en"
    family: str | None = None
    sub: str | None = None
    entities: Entities = field(default_factory=Entities)
    phrases: tuple[tuple[str, str, float], ...] = ()
    margin: float = 0.0


@cache
def kinds() -> Mapping[str, Kind]:
    """The classes by their code in the lists."""
    found = {}
    for line in lines(read("codes.txt")):
        code, issue, family, sub = line.split()
        found[code] = Kind(Issue(issue), *(None if one == "-" else one for one in (family, sub)))
    return found


@cache
def _linear() -> Linear:
    return Linear((files(__package__) / "data" / "weights.bin").read_bytes())


@cache
def _lexicon(extra: tuple[str, ...]) -> Lexicon:
    return Lexicon(read("lexicon.txt"), *extra)


@cache
def _crises(extra: tuple[str, ...]) -> Lexicon:
    return Lexicon(read("lexicon.txt"), *extra, codes=CRISIS)


def classify(text: str, *, margin: float = MARGIN, extra: tuple[str, ...] = ()) -> Triage:
    """What a message is about; ``extra`` are further lists of phrases, in the form of ``lexicon.txt``."""
    short = shorten(text)
    plain = spell(short)
    whole = plain if len(text) <= LONGEST else spell(shorten(text, FARTHEST))
    heard = _hear(plain, whole, extra)
    if heard.crisis and HARMLESS.search(whole):
        heard = _hear(HARMLESS.sub(" ", plain), HARMLESS.sub(" ", whole), extra)
    hits, weights, logs, crisis = heard
    scores = logs | {code: logs[code] + TRUST * min(weights[code], CEILING) for code in weights.keys() & logs.keys()}
    best, second = sorted(scores, key=scores.__getitem__, reverse=True)[:2]
    gap = scores[best] - scores[second] if plain else 0.0
    sure = gap >= margin
    anger = _anger(text, best, weights, bool(crisis))
    return Triage(
        issue=kinds()[best].issue if sure else None,
        also=_also(best if sure else None, weights, crisis),
        guess=kinds()[best].issue,
        level=3 if crisis else _level(best, sure, weights, anger),
        anger=anger,
        language=(tongue := language(short)),
        family=kinds()[best].family if sure else None,
        sub=_sub(best, plain) if sure else None,
        entities=entities(short, plain, tongue),
        phrases=tuple((hit.phrase, hit.code, hit.weight) for hit in hits),
        margin=round(gap, 3),
    )


# Harm that is denied or only feared is none: "没有过敏", "no smell of smoke"; nor is a question: "用会过敏吗".
_DENIED: Final = re.compile(
    r"(?:会不会|是否会|不会|没有|没|无|未|怕|担心|防|避免|不含"
    r"|(?<![a-z])(?:no|not|without|never|will it|does it|can it|non))"
    r"[ -]?(?:容易|引起|导致|出现|发生|an |a |cause |any |be |get )?$"
)
_ASKED: Final = re.compile(r"(?:会|容易)(?:引起|导致|出现|发生)?$")


# What only looks like a crisis: papers, codes and accounts that expire ...
_PAPERS: Final = (
    r"labels?|coupons?|vouchers?|(?<!date )codes?|links?|cards?|warrant(?:y|ies)|guarantees?|memberships?"
    r"|subscriptions?|sessions?|accounts?|passwords?|tokens?|licen[cs]es?"
)
_TERMS: Final = "offers?|promos?|promotions?|discounts?|quotes?|windows?|deadlines?|points|credits?|trials?|time|period"
_PAPERS_HERE: Final = "券|链接|连结|网址|码|页面|面单|会员|积分|红包|订阅|卡片?|账号|帐号|密码"
_TERMS_HERE: Final = (
    "(?:券|链接|连结|网址|码|页面)(?:显示|提示)|(?:退货|退回|寄回|寄件|快递|物流)的?标签|保修期?|质保期?|保固期?"
    "|(?:退货|退换货?|申请|售后|取件|领取|鉴赏)(?:时间|期限?)|(?:优惠|活动|折扣)(?:已经?|都|早就?)"
)
_EXPIRED: Final = (
    rf"\b(?:{_PAPERS}|{_TERMS})(?:'s| (?:you|i|we|sent|gave|got|received|me|us|has|had|have|is|was|were|are|already|now"
    r"|just|been|that|which|it|it's|will|may|might|seems?|appears?|to|be)){0,6} expired\b"
    rf"|\bexpired (?:(?:return|gift|discount|promo|payment|shipping|prepaid|credit|store) ){{0,2}}(?:{_PAPERS})\b"
    rf"|(?:{_PAPERS_HERE}|{_TERMS_HERE})"
    r"(?:的|有效期|都|也|又|已经?|是不是|是否|马上|快|就|要|会|早|刚|好像|现在| ){0,4}过期"
    rf"|过期的?(?:退货|优惠|折扣|付款|购物|礼品)?(?:{_PAPERS_HERE}|标签)|超过期|不过期待|[度经]过期间"
)
# ... and films that are shown to the shop.
_FILMED: Final = (
    r"(?:(?:需要|要不要|要我|可以|可不可以|能不能|怎么|如何|已经|开箱|都有?|还有?|也有?|有|时候|我先|我再) ?)?"
    r"[拍发录传](?:[了个段些小短]|一[个段下]|开箱){0,3}视频"
    r"(?=[了吧过来去上]{0,3}[发传]?[给让](?:你|您|客服|卖家|商家|店)|[了吗呢吧]|为证|作证|[做当]?证[据明]|留证|存证|取证)"
    r"(?![^。！？!?]{0,16}(?:网|抖音|快手|红书|微博|朋友圈|脸书|曝|揭|公开|媒体|大家|群里|b站|tube))"
)
HARMLESS: Final = re.compile(f"{_EXPIRED}|{_FILMED}")


def _supposed(hit: Hit, text: str) -> bool:
    """Whether the harm that a phrase names is denied, feared or asked about."""
    before = text[max(0, hit.start - 12) : hit.start]
    return bool(_DENIED.search(before)) or (text[hit.end : hit.end + 1] == "吗" and bool(_ASKED.search(before)))


def _hear(plain: str, whole: str, extra: tuple[str, ...]) -> Heard:
    """What the start of a text says, and of harm the whole of it."""
    hits = _lexicon(extra).find(plain)
    counted = hits
    if whole != plain or any(hit.code in CRISIS and _supposed(hit, plain) for hit in hits):
        # What is denied at one place may be told at another.
        harm = {hit[:2]: hit for hit in _crises(extra).every(whole) if not _supposed(hit, whole)}
        counted = [*(hit for hit in hits if hit.code not in CRISIS), *harm.values()]
        known = {hit[:2] for hit in hits}
        hits = [*hits, *(hit for name, hit in harm.items() if name not in known)]
    weights: dict[str, float] = {}
    for hit in counted:
        weights[hit.code] = weights.get(hit.code, 0.0) + hit.weight
    logs = _linear().logs(plain)
    return Heard(hits, weights, logs, _crisis(weights, logs))


def _crisis(weights: Mapping[str, float], logs: Mapping[str, float]) -> list[str]:
    """The crisis classes that the message names, or that the model alone holds for likely."""
    odds = {code: 2.718281828 ** logs.get(code, -9.0) for code in _CRISES}
    named = [code for code in odds if weights.get(code, 0.0) >= CRISIS_WEIGHT or odds[code] >= CRISIS_ODDS]
    if not named:
        return named
    return sorted(named, key=lambda code: (-weights.get(code, 0.0), -odds[code]))


def _also(best: str | None, weights: Mapping[str, float], crisis: list[str]) -> tuple[Issue, ...]:
    """What else it speaks of: a crisis, a request beside its cause, a second cause with weight."""
    if not weights and not crisis:
        return ()
    table = kinds()
    beside = [code for code in weights if code in table and weights[code] >= (3.0 if code in REQUESTS else SECOND)]
    beside = [code for code in beside if code not in CRISIS and code not in {"OT", "PQ"}]
    ranked = [*crisis, *sorted(beside, key=lambda code: -weights[code])]
    return tuple(table[code].issue for code in dict.fromkeys(ranked) if code != best)[:3]


def _level(best: str, sure: bool, weights: Mapping[str, float], anger: int) -> int:
    serious = any(weights.get(code, 0.0) >= SECOND for code in SERIOUS)
    return 2 if serious or "L2" in weights or (sure and best in SERIOUS) or (anger == 2 and best == "SA") else 1


def _anger(text: str, best: str, weights: Mapping[str, float], crisis: bool) -> int:
    loud = _shouts(text)
    score = weights.get("A2", 0.0) + weights.get("A1", 0.0) / 2 + 2 * loud
    if score >= 3 or crisis:
        return 2
    return 1 if score > 0 or best in _COMPLAINTS else 0


def _shouts(text: str) -> bool:
    """Whether it is written loudly: signs in a row, or several words in capitals."""
    if ("!" in text or "?" in text or "！" in text or "？" in text) and _SHOUTS.search(text):
        return True
    return bool(_FOUR_CAPITALS.search(text)) and len(_CAPITALS.findall(text)) > 2


_NOT_SENT: Final = re.compile(
    r"发货|出货|备货|寄出|揽收|还没发|没发|不发|ship|dispatch|processing|hasn't left|label created|sent out"
)
_SENT: Final = re.compile(
    r"物流|快递|派送|运输|在路上|送到|送来|到货|courier|carrier|tracking|deliver|arriv|depot|transit"
)


def _sub(best: str, text: str) -> str | None:
    """The sub-cause; a late order is dispatched late where the words speak of sending and not of the way."""
    if best == "LD" and _NOT_SENT.search(text) and not _SENT.search(text):
        return "late_dispatch"
    return kinds()[best].sub
