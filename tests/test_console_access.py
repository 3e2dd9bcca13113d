"""Whoever wants to use the console can: by keyboard, on a phone, in the dark, in Chinese."""

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from stream.settings import Settings
from tests.console_shop import PATIENCE_MS, ConsoleShop, act, opened_page, running_console

expect.set_options(timeout=PATIENCE_MS)

VIEWS = {"shop": "#products .product", "stream": "#lag tbody tr", "person": "#past li"}
"""By what each is known to be filled."""
PHONE = 360


@pytest.fixture(scope="module")
def console(
    browser: Browser, stream_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ConsoleShop]:
    with running_console(stream_settings, tmp_path_factory.mktemp("access")) as running:
        running.shop.send_bytes(b"garbage", b"nobody")
        running.shop.flush()
        yield running


def show(page: Page, view: str) -> None:
    page.locator(f"nav a[href='#{view}']").click()
    expect(page.locator(VIEWS[view]).first).to_be_visible()


@pytest.mark.parametrize("width", [1280, PHONE])
@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing(
    browser: Browser, console: ConsoleShop, dark: bool, locale: str, width: int
) -> None:
    # What axe itself adds to the page is not what the page's policy is for.
    with opened_page(
        browser, console.url, locale=locale, dark=dark, width=width, bypass_csp=True, calm=True
    ) as page:
        act(page, "tea-1")
        act(page, "tea-2")
        for view in VIEWS:
            show(page, view)
            found = Axe().run(page).response["violations"]
            told = [(each["id"], each["impact"], each["nodes"][0]["html"]) for each in found]
            assert told == [], view


def test_axe_would_find_something(browser: Browser, console: ConsoleShop) -> None:
    with opened_page(browser, console.url, bypass_csp=True) as page:
        page.evaluate("document.querySelector('label[for=query]').remove()")
        page.evaluate("document.querySelector('#query').removeAttribute('placeholder')")
        found = {each["id"] for each in Axe().run(page).response["violations"]}
        assert "label" in found


@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_a_phone_scrolls_downwards_only(
    browser: Browser, console: ConsoleShop, locale: str
) -> None:
    with opened_page(browser, console.url, locale=locale, width=PHONE) as page:
        act(page, "tea-1")
        act(page, "tea-2")
        for view in VIEWS:
            show(page, view)
            assert page.evaluate("document.documentElement.scrollWidth") == PHONE, view


def test_the_keyboard_alone_shops(browser: Browser, console: ConsoleShop) -> None:
    with opened_page(browser, console.url) as page:
        expect(page.locator(VIEWS["shop"]).first).to_be_visible()
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#main")).to_be_focused()
        page.keyboard.press("Tab")
        expect(page.get_by_role("searchbox")).to_be_focused()
        page.keyboard.type("green tea")
        page.keyboard.press("Enter")
        expect(page.locator("#cause")).to_have_text("for your search “green tea”")
        # Not before: the shelf is drawn anew, and what has the focus in it loses it.
        expect(page.locator("#shelf-title")).to_contain_text("for “green tea”")
        product = page.locator("#products .open").first
        expect(product).to_contain_text("green tea")
        for _ in range(40):
            if product.evaluate("each => each === document.activeElement"):
                break
            page.keyboard.press("Tab")
        expect(product).to_be_focused()
        before = page.locator("#wait").get_attribute("data-event") or ""
        page.keyboard.press("Enter")
        expect(page.locator("#wait")).not_to_have_attribute("data-event", before)
        expect(page.locator("#actions .kind").first).to_have_text("click")


def test_what_has_the_focus_keeps_it_when_it_is_drawn_anew(
    browser: Browser, console: ConsoleShop
) -> None:
    with opened_page(browser, console.url) as page:
        department = page.get_by_role("button", name="drinks", exact=True)
        department.focus()
        page.keyboard.press("Enter")
        expect(page.locator("#products .product")).to_have_count(25)
        expect(department).to_be_focused()
        act(page, "tea-1")
        page.locator("#list .open").first.focus()
        before = page.locator("#wait").get_attribute("data-event") or ""
        page.keyboard.press("Enter")
        expect(page.locator("#wait")).not_to_have_attribute("data-event", before)
        assert page.evaluate("document.querySelector('#list').contains(document.activeElement)")
        show(page, "stream")
        lag = page.get_by_role("group", name="Lag by partition")
        lag.focus()
        row = page.locator("#lag tbody tr").first
        drawn = row.element_handle()
        assert drawn is not None
        drawn.wait_for_element_state("hidden")
        expect(lag).to_be_focused()


def test_the_language_follows_the_browser_and_the_button(
    browser: Browser, console: ConsoleShop
) -> None:
    with opened_page(browser, console.url, locale="zh-CN") as page:
        expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
        expect(page.locator("#list-title")).to_have_text("为您推荐")
        act(page, "tea-1")
        chinese = page.locator("#list .sub").first.inner_text()
        page.get_by_role("button", name="English").click()
        expect(page.locator("html")).to_have_attribute("lang", "en")
        expect(page.locator("#list-title")).to_have_text("For you")
        assert page.locator("#list .sub").first.inner_text() != chinese
        page.reload()
        expect(page.locator("#list-title")).to_have_text("For you")


def test_the_theme_follows_the_system_and_the_button(
    browser: Browser, console: ConsoleShop
) -> None:
    def back(page: Page) -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    with opened_page(browser, console.url) as page:
        light = back(page)
        button = page.get_by_role("button", name="Dark colours")
        expect(button).to_have_attribute("aria-pressed", "false")
        button.click()
        dark = back(page)
        assert dark != light
        page.reload()
        expect(button).to_have_attribute("aria-pressed", "true")
        assert back(page) == dark
    with opened_page(browser, console.url, dark=True) as page:
        assert back(page) == dark
