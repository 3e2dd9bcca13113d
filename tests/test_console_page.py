"""The console in a real browser: what is done in the page goes through Kafka and comes back."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from model.blend import BlendWeights
from serving.recommendation import Recommendation
from stream.forget import forget_event
from stream.settings import Settings
from tests.console_shop import (
    PATIENCE_MS,
    PRODUCTS,
    SHARP,
    ConsoleShop,
    act,
    listed,
    opened_page,
    running_console,
)
from tests.shop import wait_until
from tests.tiny import tiny_bundle

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def console(
    browser: Browser, stream_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ConsoleShop]:
    with running_console(stream_settings, tmp_path_factory.mktemp("console")) as running:
        yield running


@pytest.fixture
def page(browser: Browser, console: ConsoleShop) -> Iterator[Page]:
    with opened_page(browser, console.url) as found:
        yield found


def user_of(page: Page) -> str:
    return str(page.evaluate("localStorage.getItem('nextclick-user')"))


def lists_of(console: ConsoleShop, user: str, count: int) -> list[Recommendation]:
    def found() -> list[Recommendation] | None:
        lists = [each for each in console.shop.lists if each.user_id == user]
        return lists if len(lists) == count else None

    return console.shop.wait_for(found, f"{count} lists")


@pytest.mark.either_backend
def test_a_click_goes_through_kafka_and_changes_the_list(page: Page, console: ConsoleShop) -> None:
    expect(page.locator("#cause")).to_have_text("No list yet: click something.")
    act(page, "tea-1")
    first, name = listed(page), page.locator("#list").get_attribute("data-list")
    assert len(first) == console.shop.settings.list_length
    act(page, "phone-2")
    assert page.locator("#list").get_attribute("data-list") != name
    assert listed(page) != first
    shown = page.locator("#actions li").all_inner_texts()
    assert [re.sub(r"\s+", " ", each) for each in shown] == [
        f"click 智能手机 2 {page.locator('#wait').inner_text()}",
        re.sub(r"\s+", " ", shown[1]),
    ]
    assert re.fullmatch(r"[\d.,]+ ms", page.locator("#wait").inner_text())
    user = user_of(page)
    made = console.shop.wait_for(
        lambda: next(
            (each for each in console.shop.lists if each.user_id == user and each.rec_id != name),
            None,
        ),
        "the list of the second click",
    )
    assert [each.item_id for each in made.items] == listed(page)
    reasons = page.locator("#list .sub").all_inner_texts()
    assert reasons == [each.reason for each in made.items]


def test_a_search_finds_products_and_gets_its_own_list(page: Page) -> None:
    page.get_by_role("searchbox").fill("智能手机")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#cause")).to_have_text("for your search “智能手机”")
    expect(page.locator("#shelf-title")).to_contain_text("for “智能手机”")
    assert {item.partition("-")[0] for item in listed(page)} == {"phone"}
    expect(page.locator("#products .product").first).to_contain_text("智能手机")


def test_departments_and_deeds(page: Page) -> None:
    expect(page.locator("#products .product")).to_have_count(60)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator("#products .product")).to_have_count(len(PRODUCTS))
    expect(page.locator("#more")).to_be_hidden()
    page.get_by_role("button", name="drinks", exact=True).click()
    expect(page.locator("#products .product")).to_have_count(25)
    page.get_by_role("button", name="Buy green tea 7", exact=True).click()
    expect(page.locator("#wait")).to_be_visible()
    page.get_by_role("button", name="Put green tea 8 into the cart", exact=True).click()
    expect(page.locator("#actions .ms").nth(1)).to_contain_text("ms")
    expect(page.locator("#actions .ms").first).to_contain_text("ms")
    page.get_by_role("link", name="User").click()
    expect(page.locator("#past li")).to_have_count(2)
    assert page.locator("#past .kind").all_inner_texts() == ["cart", "purchase"]
    assert page.locator("#past .what").all_inner_texts() == ["green tea 8", "green tea 7"]
    expect(page.locator("#affinities")).to_contain_text("drinks › green tea")
    expect(page.locator("#facts .tile", has_text="purchases")).to_contain_text("1")


def test_the_user_view_tells_the_lineage_and_can_forget(page: Page, console: ConsoleShop) -> None:
    act(page, "tea-3")
    page.get_by_role("link", name="User").click()
    lineage = page.locator(".lineage")
    user = user_of(page)
    made = console.shop.wait_for(
        lambda: next((each for each in console.shop.lists if each.user_id == user), None),
        "the list",
    )
    as_of = made.as_of
    for told in (
        made.event_id, made.bundle, made.rec_id, f"{as_of.topic} {as_of.partition}:{as_of.offset}"
    ):  # fmt: skip
        expect(lineage).to_contain_text(told)
    page.on("dialog", lambda dialog: dialog.accept())
    [worker] = console.shop.workers
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        with page.expect_response(re.compile("/console/users/")):  # which still knows him
            page.get_by_role("button", name="Forget").click()
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    expect(page.locator("#person-note")).to_have_text("Nothing is known of this user.")


@pytest.mark.either_backend
def test_earlier_lists_are_there_after_a_reload_and_in_another_browser(
    browser: Browser, page: Page, console: ConsoleShop
) -> None:
    user = user_of(page)
    for item in ("tea-1", "phone-2", "tea-3"):
        act(page, item)
    made = lists_of(console, user, 3)
    page.reload()
    page.get_by_role("link", name="User").click()
    chips = page.get_by_role("group", name="Last lists").get_by_role("button")
    expect(chips).to_have_count(3)
    expect(page.locator(".lineage")).to_contain_text(made[2].rec_id)
    for chip, each in zip(chips.all(), reversed(made), strict=True):
        chip.click()
        expect(page.locator(".lineage")).to_contain_text(each.rec_id)
        expect(page.locator(".lineage")).to_contain_text(each.event_id)
    page.get_by_role("link", name="Shop", exact=True).click()
    act(page, "tea-4")
    page.get_by_role("link", name="User").click()
    expect(chips).to_have_count(4)
    with opened_page(browser, console.url) as other:
        other.get_by_role("link", name="User").click()
        other.get_by_label("User id").fill(user)
        other.keyboard.press("Enter")
        chips = other.get_by_role("group", name="Last lists").get_by_role("button")
        expect(chips).to_have_count(4)
        chips.first.focus()
        for _ in range(3):
            other.keyboard.press("Tab")
        other.keyboard.press("Enter")
        expect(chips.last).to_have_attribute("aria-pressed", "true")
        expect(chips.last).to_be_focused()
        expect(other.locator(".lineage")).to_contain_text(made[0].rec_id)


def test_who_is_forgotten_elsewhere_has_no_lists_any_more(page: Page, console: ConsoleShop) -> None:
    user = user_of(page)
    act(page, "tea-1")
    act(page, "tea-2")
    page.get_by_role("link", name="User").click()
    chips = page.locator("#lineage .chips button")
    expect(chips).to_have_count(2)
    console.shop.send(forget_event(user))
    profile = f"{console.url}users/{user}"
    wait_until(lambda: not page.request.get(profile).json()["is_known"], "he is forgotten")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator("#lineage")).to_have_text("No list yet: click something.")
    page.get_by_role("link", name="Shop", exact=True).click()
    act(page, "tea-3")
    page.get_by_role("link", name="User").click()
    expect(chips).to_have_count(1)


def test_somebody_else_can_be_looked_at_and_shopped_as(page: Page, console: ConsoleShop) -> None:
    event = console.shop.send_click("小明/1", "tea-5")
    console.shop.list_for(event)
    page.get_by_role("link", name="User").click()
    page.get_by_label("User id").fill("小明/1")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator("#past li")).to_have_count(1)
    page.get_by_role("button", name="Shop as this user").click()
    page.get_by_role("link", name="Shop", exact=True).click()
    expect(page.locator("#list li")).to_have_count(console.shop.settings.list_length)
    act(page, "tea-6")
    assert user_of(page) == "小明/1"


@pytest.mark.either_backend
def test_the_live_view_tells_of_events_workers_and_dead_letters(
    page: Page, console: ConsoleShop
) -> None:
    act(page, "tea-1")
    page.get_by_role("link", name="Stream").click()
    worker = page.locator("#workers tbody tr")
    expect(worker).to_contain_text("ready")
    expect(worker.get_by_role("cell", name="CPU", exact=True)).to_be_visible()
    expect(page.locator("#lag tbody tr")).to_have_count(console.shop.settings.partitions)
    expect(page.locator("#tiles .tile", has_text="p50")).to_contain_text("ms")
    console.shop.send_bytes(b'{"type": "clack"}', b"nobody")
    console.shop.flush()
    letter = page.locator("#letters li").first
    expect(letter).to_contain_text("invalid")
    expect(letter).to_contain_text("clack")
    expect(letter).to_contain_text(f"{console.shop.settings.events_topic}:")
    expect(page.locator("#reasons")).to_contain_text("invalid 1")


def test_what_a_catalogue_says_is_text(page: Page) -> None:
    page.get_by_role("searchbox").fill("img onerror")
    page.keyboard.press("Enter")
    expect(page.locator("#products h3").first).to_have_text(SHARP)
    act(page, "sharp")
    assert page.title() == "nextclick"


def test_a_new_bundle_shows(page: Page, console: ConsoleShop, tmp_path: Path) -> None:
    act(page, "tea-1")
    page.get_by_role("link", name="Stream").click()
    version = page.locator("#bundle .version")
    old = page.locator("#list").get_attribute("data-bundle") or ""
    expect(version).to_have_text(old)
    shop = console.shop
    new = tiny_bundle(
        tmp_path / "bundle",
        [item.item_id for item in PRODUCTS[:50]],
        blend=BlendWeights(network=0.5, repeat=1.0, covisit=1.0, popular=0.1),
    ).version
    assert new != old
    [worker] = shop.workers
    assert worker.stop() == 0
    shop.workers.clear()
    shop.settings = shop.settings.model_copy(update={"bundle": tmp_path / "bundle"})
    shop.start_workers(1)
    page.get_by_role("link", name="Shop", exact=True).click()
    act(page, "tea-2")
    assert page.locator("#list").get_attribute("data-bundle") == new
    page.get_by_role("link", name="Stream").click()
    expect(version).to_have_text(new)
    expect(page.locator("#bundle .changed")).to_contain_text(old)
