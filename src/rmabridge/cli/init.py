"""``rmabridge init``: write a commented configuration."""

from __future__ import annotations

from typing import Final

import click

from .app import App, command
from .output import said

TEMPLATE: Final = '''\
# rmabridge.toml: one file for the whole bridge. Check it with: rmabridge check
# 一个文件配置整座桥；写好后运行 rmabridge check。
#
# A secret is never written here: { env = "NAME" } takes it from the environment, { file = "/run/secrets/x" } from a
# file, { keyring = "service/user" } from the system's keyring.
# 密钥不要写在文件里，用环境变量、文件或系统钥匙串。

[bridge]
database = "sqlite:///rmabridge.db"   # beside this file; its key file rmabridge.key must be backed up with it 数据库
host = "127.0.0.1"
port = 8080
# How platforms reach the bridge from outside, for webhooks and sign-in. 外网地址，平台回调用
# public_url = "https://rma.example.com"
# plugins_dir = "plugins"             # your own plugin files 自己的插件
# templates_dir = "templates"         # your own words to buyers 自己的话术
# dry_run = true                      # receive and decide, but let nothing leave 只看不发
#
# All policies are asked, in this order: triage, verification, routing, plays, first_reply, returns, compensation,
# evidence, logistics, claims, clocks, clarify, helpdesk_sync, tracking, progress, second_way, patience,
# contact_windows, approvals, wording. What each does: docs/handling.md, and: rmabridge policy show
# 默认启用全部策略，次序如上；各做什么见 docs/handling.zh-CN.md。
# To leave some out, name those that stay. This list leaves returns, money, proof and claims to people.
# 不想要的就不写；下面这样把退货、钱、举证和索赔都交给人：
# policies = ["triage", "verification", "routing", "first_reply", "clocks", "helpdesk_sync", "tracking",
#             "progress", "patience", "contact_windows", "approvals", "wording"]

# One section for each shop: which accounts below serve it. 每个店铺一节
[shops.main]
title = "My shop"                     # the name that customers know 店铺名称
marketplace = "shopify"
helpdesk = "zendesk"
carrier = "kdniao"
channels = ["mail"]                   # ways to buyers 联系买家的渠道
# staff = ["group"]                   # ways to colleagues, see [channels.group] below 提醒同事的渠道
sources = ["ownshop"]                 # further systems whose events belong to this shop
locale = "en"                         # for buyers whose language is not known 默认语言
timezone = "Asia/Shanghai"
hours = ["Mon-Fri 09:00-18:00"]       # 工作时间
# holidays = "CN"                     # public holidays and make-up workdays 法定节假日和调休
return_window = "P30D"                # returns are approved so long after delivery 退货期
refund_limit = "500 CNY, 70 USD"      # above it a person approves 超过则需人工批准

[marketplaces.shopify]
shop = "my-shop.myshopify.com"
access_token = { env = "SHOPIFY_TOKEN" }
secret = { env = "SHOPIFY_SECRET" }   # signs the webhooks

# Any other shop system that can send JSON; see: rmabridge plugins show webhook
# 其他能发 JSON 的店铺系统
[marketplaces.ownshop]
plugin = "webhook"
secret = { env = "OWNSHOP_SECRET" }
signature = { family = "hmac", sign = "X-Shop-Signature", prefix = "sha256=" }
# A body to try the mapping with: rmabridge trigger ownshop sample
sample_body = """
{"topic": "return.created", "return": {"id": "R-1", "created_at": "2026-01-02T08:00:00Z", "why": "太小"},
 "order": {"number": "1001"}, "buyer": {"id": "b-1", "name": "Sample"}}"""

[[marketplaces.ownshop.events]]
type = "case.requested"
when = "topic == 'return.created'"
key = "return.id"
at = "return.created_at"
refs = { return = "return.id", order = "order.number", buyer = "buyer.id" }
set = { kind = "'return'", reason = "return.why", "buyer.id" = "buyer.id", "buyer.name" = "buyer.name" }

[helpdesks.zendesk]
subdomain = "my-shop"                 # NAME in NAME.zendesk.com
email = "rma-bot@example.com"         # the API user 机器人账号
token = { env = "ZENDESK_TOKEN" }
secret = { env = "ZENDESK_SECRET" }   # signs its webhooks

[carriers.kdniao]                     # 快递鸟
business_id = "1234567"               # 用户ID
app_key = { env = "KDNIAO_KEY" }

[channels.mail]
plugin = "smtp"
host = "smtp.example.com"
port = 587
user = "support@example.com"
password = { env = "SMTP_PASSWORD" }
sender = "support@example.com"
sender_name = "My shop"

# A group of colleagues that hears of cases, deadlines and approvals. 同事群：新案件、时限和审批都会提醒
# [channels.group]
# plugin = "wecom_robot"
# key = { env = "WECOM_KEY" }         # the key in the robot's webhook address 机器人地址里的 key

# Who may decide what waits, up to which amount; without any the staff channels are asked. 谁能批、批到多少
# [[policies.approvals.approvers]]
# name = "Wang"
# channel = "mail"
# form = "mail"
# to = "wang@example.com"
# limit = "2000 CNY"

# What a case may cost without an approval, all in all. 一个案件不用批准最多花多少
# [policies.compensation]
# limit = "300 CNY"

# Who takes which case: the first rule that matches wins. 分派规则，先匹配者先得
[[routes]]
name = "crisis"
when = { level = 3 }
then = { group = "crisis", priority = "urgent" }

[[routes]]
name = "everything else"
then = { group = "support" }
'''


@click.command()
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@command
def init(app: App, force: bool) -> None:
    """Write a commented rmabridge.toml."""
    from ..errors import CommandError

    try:
        with app.path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except FileExistsError:
        raise CommandError(f"{app.path}: is there already; --force replaces it") from None
    said(app, f"{app.path} is written; set its secrets, then: rmabridge check", path=str(app.path))
