"""A running shop with its console, and a page that somebody has opened: what its tests share."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from model.items import Item
from stream.embedded_redis import free_port
from stream.settings import Settings
from tests.api_client import serving
from tests.shop import ITEMS, PATIENCE_S, Shop, running_shop

SHARP = "<img src=x onerror=document.title='broken'>"
PRODUCTS = [*ITEMS, Item(item_id="sharp", title=SHARP, category=(SHARP,), brand=SHARP)]
PATIENCE_MS = PATIENCE_S * 500


@dataclass
class ConsoleShop:
    """A shop with one worker, and where its console is."""

    shop: Shop
    url: str


@contextmanager
def running_console(settings: Settings, folder: Path) -> Iterator[ConsoleShop]:
    """Worker and API of a shop whose servers run already."""
    metrics, port = free_port(), free_port()
    watched = settings.model_copy(update={"metrics_port": metrics})
    with_console = settings.model_copy(
        update={"api_port": port, "console": True, "console_workers": f"127.0.0.1:{metrics}"}
    )
    with (
        running_shop(watched, folder, items=PRODUCTS) as shop,
        serving(with_console, folder / "api.log") as address,
    ):
        yield ConsoleShop(shop, f"{address}/console/")


@contextmanager
def opened_page(
    browser: Browser,
    url: str,
    *,
    locale: str = "en-GB",
    dark: bool = False,
    width: int = 1280,
    bypass_csp: bool = False,
    calm: bool = False,
) -> Iterator[Page]:
    """The page as a stranger sees it; whatever it complains of is a failure."""
    complaints: list[str] = []

    def hear(said: ConsoleMessage) -> None:
        if said.type in ("error", "warning"):
            complaints.append(said.text)

    with browser.new_context(
        locale=locale,
        color_scheme="dark" if dark else "light",
        viewport={"width": width, "height": 800},
        reduced_motion="reduce" if calm else "no-preference",
        bypass_csp=bypass_csp,
    ) as context:
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("console", hear)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        expect(page.locator(".link.on")).to_be_visible()
        yield page
    assert complaints == []


def act(page: Page, item: str) -> None:
    """Click a product and wait for its list."""
    before = page.locator("#wait").get_attribute("data-event")
    expect(page.locator("#products .product").first).to_be_visible()
    product = page.locator(f"#products [data-item='{item}'] .open")
    if not product.count():
        # Not more of them: the order goes by popularity, which may change in between.
        department = next(each.category[0] for each in PRODUCTS if each.item_id == item)
        chips = page.locator("#departments")
        chips.get_by_role("button", name=department, exact=True).click()
    product.click()
    if before is None:
        expect(page.locator("#wait")).to_be_visible()
    else:
        expect(page.locator("#wait")).not_to_have_attribute("data-event", before)


def listed(page: Page) -> list[str]:
    """The items of the list that is shown."""
    found: list[str] = page.locator("#list li").evaluate_all(
        "rows => rows.map(each => each.dataset.item)"
    )
    return found
