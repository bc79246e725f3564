"""The catalogue of words, the shipped ones and an operator's own."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmabridge.core.templates import LOCALES, Catalogue, nearest
from rmabridge.errors import ConfigError
from rmabridge.model import CaseKind, Form, Money

CATALOGUE = Catalogue()
COMMON = {"case": "C1", "name": "王小明", "shop": "Acme", "order": "1001", "issue": None}


@pytest.mark.row("S048")
def test_the_shipped_templates_have_no_problem():
    assert CATALOGUE.lint() == []
    complaints = [one for one in CATALOGUE.ids() if CATALOGUE.text(one).complaint]
    first = {f"first_reply.{kind}" for kind in CaseKind if kind is not CaseKind.QUESTION}
    assert first <= set(complaints)
    assert all(one in first or CATALOGUE.text(one).labels for one in complaints)


@pytest.mark.row("S048")
def test_a_first_reply_without_empathy_is_a_problem(tmp_path):
    (tmp_path / "own.toml").write_text(
        '[first_reply.return]\nversion = 2\n[first_reply.return.en]\nsubject = "x"\nchat = "We got it."\nsms = "ok"\n'
    )
    problems = Catalogue(tmp_path).lint()
    assert {str(one) for one in problems} == {
        f"[templates.first_reply.return.en] {form}: the first reply to a complaint needs an approved line of empathy"
        for form in Form
    }


@pytest.mark.row("S049")
def test_a_first_reply_without_an_apology_is_a_problem(tmp_path):
    (tmp_path / "own.toml").write_text('[parts.empathy]\nen = "I understand how you feel."\n')
    problems = {str(one) for one in Catalogue(tmp_path).lint()}
    assert (
        "[templates.first_reply.return.en] mail: the first reply to a complaint needs an apology" in problems
        and not [one for one in problems if ".zh-" in one]
    )


PARTS = {
    "calming": ("feeling", "responsibility", "action"),
    "script": ("apology", "compensation", "prevention"),
}


def of_three(kind, parts, form="{{ %s }} {{ %s }} {{ %s }}"):
    """An own complaint template in English, with the parts given."""
    lines = [f'{one} = "The {one}."' for one in parts]
    form = form % PARTS[kind]
    head = f'[{kind}.own]\nkind = "{kind}"\ncomplaint = true\nparts = []\n\n[{kind}.own.en]\nsubject = "s"\n'
    return head + "\n".join(lines) + f'\nchat = "{form}"\nsms = "{form}"\n'


@pytest.mark.row("S050")
@pytest.mark.parametrize(("kind", "left_out"), [(kind, one) for kind, parts in PARTS.items() for one in parts])
def test_a_complaint_without_one_of_its_three_parts_is_refused_with_its_place(tmp_path, kind, left_out):
    rest = [one for one in PARTS[kind] if one != left_out]
    (tmp_path / "own.toml").write_text(of_three(kind, rest))
    with pytest.raises(ConfigError, match=rf"own\.toml line 6: {kind}\.own en {left_out}: the part '{left_out}' of a"):
        Catalogue(tmp_path)
    (tmp_path / "own.toml").write_text(of_three(kind, PARTS[kind]).replace(f"{{{{ {left_out} }}}}", "", 1))
    with pytest.raises(ConfigError, match=rf"own\.toml line 11: {kind}\.own en chat: {{{{ {left_out} }}}} is left out"):
        Catalogue(tmp_path)
    (tmp_path / "own.toml").write_text(of_three(kind, PARTS[kind]))
    assert Catalogue(tmp_path).render(f"{kind}.own", "en", Form.CHAT).text.count("The ") == 3


def test_a_part_that_names_another_part_is_refused(tmp_path):
    text = of_three("calming", PARTS["calming"]).replace("The feeling.", "{{ action }}")
    (tmp_path / "own.toml").write_text(text.replace("The action.", "{{ feeling }}"))
    with pytest.raises(ConfigError, match="'action' is undefined"):
        Catalogue(tmp_path).render("calming.own", "en", Form.CHAT)


@pytest.mark.row("S051")
@pytest.mark.parametrize("name", ["lost_parcel", "wrong_item", "late_after_sales", "damaged", "late_dispatch"])
@pytest.mark.parametrize("locale", LOCALES)
def test_the_scenario_scripts_apologise_compensate_and_prevent(name, locale):
    text = CATALOGUE.text(f"script.{name}")
    fields = text.bodies[locale].fields
    assert all(fields[one].strip() for one in PARTS["script"])
    for form in Form:
        assert "{{" not in CATALOGUE.preview(text.id, locale, form).text


NEW = [one for one in CATALOGUE.ids() if one.partition(".")[0] in {"script", "calming", "clarify", "proposal"}]


@pytest.mark.parametrize("locale", ["zh-CN", "zh-TW"])
@pytest.mark.parametrize("sample", ["typical", "worst", "bare"])
def test_chinese_words_for_a_marketplace_thread_fit_into_400_bytes(locale, sample):
    for one in NEW:
        text = CATALOGUE.preview(one, locale, Form.THREAD, sample).text
        assert len(text.encode()) <= 400, (one, text)


def test_an_operator_overrides_one_locale_and_keeps_the_others(tmp_path):
    (tmp_path / "own.toml").write_text(
        '[greeting.session]\nversion = 7\n[greeting.session.en]\nsubject = "s"\nchat = "Hi {{ name }}"\nsms = "Hi"\n'
    )
    own = Catalogue(tmp_path)
    mine = own.render("greeting.session", "en", Form.CHAT, **COMMON)
    assert (mine.text, mine.template.version) == ("Hi 王小明", 7)
    assert own.render("greeting.session", "zh-CN", Form.CHAT, **COMMON).text == (
        CATALOGUE.render("greeting.session", "zh-CN", Form.CHAT, **COMMON).text
    )


@pytest.mark.parametrize("body", ['"""\\nfine\\n{% if %}\\n"""', '"""\\nfine\\n{{ oops( }}"""'])
def test_a_broken_template_names_file_template_locale_and_line(tmp_path, body):
    text = f'[greeting.session]\nversion = 2\n\n[greeting.session.en]\nsubject = "s"\nchat = {body}\nsms = "x"\n'
    (tmp_path / "own.toml").write_text(text.replace("\\n", "\n"))
    with pytest.raises(ConfigError, match=r"own\.toml line 8: greeting\.session en chat: "):
        Catalogue(tmp_path)


def test_an_undefined_name_is_found_by_lint_and_refused_when_rendered(tmp_path):
    (tmp_path / "own.toml").write_text(
        "[greeting.session]\nversion = 2\n[greeting.session.en]\n"
        'subject = "s"\nchat = """\nHi\n{{ nobody }}"""\nsms = "x"\n'
    )
    own = Catalogue(tmp_path)
    assert any("line 7: greeting.session en chat: 'nobody' is undefined" in str(one) for one in own.lint())
    with pytest.raises(ConfigError, match="nobody"):
        own.render("greeting.session", "en", Form.CHAT, **COMMON)


def test_a_part_that_is_not_allowed_is_refused(tmp_path):
    (tmp_path / "own.toml").write_text(
        '[tracking.unknown]\nversion = 2\n[tracking.unknown.en]\nsubject = "s"\nchat = "{{ empathy }}"\nsms = "x"\n'
    )
    with pytest.raises(ConfigError, match="the part 'empathy' is not allowed"):
        Catalogue(tmp_path)


def test_files_that_are_not_toml_or_widen_what_the_bridge_gives_are_refused(tmp_path):
    (tmp_path / "own.toml").write_text("[greeting\n")
    with pytest.raises(ConfigError, match=r"own\.toml"):
        Catalogue(tmp_path)
    (tmp_path / "own.toml").write_text('[progress.declined]\nvalues = ["salary"]\n')
    with pytest.raises(ConfigError, match="fixed by the bridge"):
        Catalogue(tmp_path)
    (tmp_path / "own.toml").write_text('[greeting.session]\ncolour = "red"\n')
    with pytest.raises(ConfigError, match="colour: not known here"):
        Catalogue(tmp_path)


def test_long_words_never_stand_in_for_a_text_message(tmp_path):
    (tmp_path / "own.toml").write_text(
        "[note.x]\nversion = 1\n" + "".join(f'[note.x.{one}]\nsubject = "s"\nmail = "long"\n' for one in LOCALES)
    )
    own = Catalogue(tmp_path)
    assert own.render("note.x", "en", Form.THREAD).text == "long"
    with pytest.raises(ConfigError, match="no words for sms"):
        own.render("note.x", "en", Form.SMS)


@pytest.mark.parametrize(
    ("tag", "locale"),
    [
        ("zh-HK", "zh-TW"),
        ("zh_TW", "zh-TW"),
        ("zh-Hant-US", "zh-TW"),
        ("zh", "zh-CN"),
        ("zh-SG", "zh-CN"),
        ("fr", "en"),
    ],
)
def test_a_locale_falls_back_to_the_nearest(tag, locale):
    assert nearest(tag) == locale


@given(st.text(max_size=20))
def test_every_tag_has_a_nearest_locale(tag):
    assert nearest(tag) in LOCALES


def test_only_mails_have_a_subject_and_the_version_goes_with_the_words():
    mail = CATALOGUE.render("first_reply.question", "en-US", Form.MAIL, **COMMON)
    assert mail.subject == "[C1] We have your message"
    assert mail.template.model_dump() == {"id": "first_reply.question", "version": 1, "locale": "en"}
    assert CATALOGUE.render("first_reply.question", "en", Form.CHAT, **COMMON).subject is None


def test_text_from_outside_is_never_read_as_a_template():
    evil = COMMON | {"name": "{{ case.__class__ }}{% raw %}"}
    assert "{{ case.__class__ }}{% raw %}" in CATALOGUE.render("greeting.session", "en", Form.CHAT, **evil).text


def test_a_template_cannot_reach_into_python(tmp_path):
    (tmp_path / "own.toml").write_text('[note.x]\nversion = 1\n[note.x.en]\nchat = "{{ case.__class__.__mro__ }}"\n')
    with pytest.raises(ConfigError, match="unsafe"):
        Catalogue(tmp_path).render("note.x", "en", Form.CHAT, **COMMON)


def test_money_reads_as_its_country_writes_it():
    values = COMMON | {"amount": Money.of("1234.5 CNY"), "expected": None}
    assert "1,234.50 元" in CATALOGUE.render("progress.refunded", "zh-CN", Form.CHAT, **values).text
    values["amount"] = Money.of("1200 JPY")
    assert "1,200 JPY" in CATALOGUE.render("progress.refunded", "en", Form.CHAT, **values).text


def test_the_longest_rendering_covers_every_locale():
    size = CATALOGUE.longest("progress.approved", Form.SMS)
    for locale in LOCALES:
        text = CATALOGUE.preview("progress.approved", locale, Form.SMS, "worst").text
        assert len(text) <= size.characters
        assert len(text.encode()) <= size.bytes


def test_importing_the_module_does_not_load_jinja():
    code = "import sys, rmabridge.core.templates; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
