"""Templates that the vendor approved, and what of ours stands in their parameters."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from rmabridge.errors import Rejected
from rmabridge.model import SendMessage, TemplateRef


def _named(given: Any) -> Any:
    return {name: name for name in given} if isinstance(given, list | tuple) else given


class Approved(BaseModel):
    """One approved template: its code, and the parameters in their order."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    code: str = Field(min_length=1, description="TemplateCode (模板CODE), such as SMS_123456789")
    params: Annotated[dict[str, str], BeforeValidator(_named)] = Field(
        default_factory=dict, description="our value by the vendor's parameter; a list where both have the same name"
    )
    defaults: dict[str, str] = Field(default_factory=dict, description="what stands for a value that is not known")
    version: int | None = Field(None, description="version of our template whose words were approved; none: any")
    sign: str | None = Field(None, description="signature (签名) of this template, where it has one of its own")

    def fill(self, values: dict[str, str], longest: int, where: str) -> dict[str, str]:
        """The parameters with their values; what is missing or too long is refused before anything is sent."""
        filled = {name: values.get(ours) or self.defaults.get(ours, "") for name, ours in self.params.items()}
        if missing := [ours for name, ours in self.params.items() if not filled[name]]:
            raise Rejected(f"no value for {', '.join(missing)}", hint=f"give {where} defaults for it")
        if long := [name for name, value in filled.items() if len(value) > longest]:
            raise Rejected(f"{', '.join(long)}: more than {longest} characters", hint="see the setting longest_value")
        return filled


def chosen(templates: dict[str, Approved], action: SendMessage, account: str) -> tuple[Approved, str]:
    """The approved template of the message, and the setting that names it. Free text is never sent."""
    ref = action.template
    if ref is None:
        raise Rejected(
            "free text cannot go as SMS: the vendor carries approved templates only",
            hint=f"send it from a template that [channels.{account}.templates] names",
        )
    key = _key(templates, ref)
    where = f'[channels.{account}.templates."{key or ref.id}"]'
    if key is None:
        raise Rejected(f"no approved template is known for {ref.id}", hint=f"add {where} with its code and params")
    return _current(templates[key], ref, where), where


def known(templates: dict[str, Approved], ref: TemplateRef | None) -> bool:
    """Whether an approved template stands for this one, in the version that was approved."""
    key = _key(templates, ref) if ref else None
    return ref is not None and key is not None and templates[key].version in {None, ref.version}


def _key(templates: dict[str, Approved], ref: TemplateRef) -> str | None:
    return next((one for one in (f"{ref.id}:{ref.locale}", ref.id) if one in templates), None)


def _current(found: Approved, ref: TemplateRef, where: str) -> Approved:
    if found.version not in {None, ref.version}:
        raise Rejected(
            f"{ref.id} is now version {ref.version}; version {found.version} was approved",
            hint=f"have the new words approved, then change {where}",
        )
    return found
