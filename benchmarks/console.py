"""From a click in the console's page until the new list is on the screen, in a real browser.

    python -m benchmarks.console --json [--clicks 200] [--workers 1]

Embedded broker and Redis, workers, the API with the console, and Chromium without a window, all on
this machine. One visitor clicks a product, waits for the list, waits a little (a random time, so
that clicks fall anywhere between the polls of the broker), and clicks the next. The page itself
measures: from the time stamp of the click until the frame with the new list has been painted.
``to_list_ms`` ends when the page is handed the list, before it has drawn it; ``to_ack_ms`` when the
event is acknowledged by Kafka. Where the machine has other work the figures tell of that work:
``load_average`` stands beside them.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page

from benchmarks.backlog import fill_catalogue
from benchmarks.contender import ONE_THREAD
from benchmarks.machine import machine
from benchmarks.made_up import ITEM_COUNT
from benchmarks.pinned import pinned_bundle
from benchmarks.printed import print_figures
from stream.cluster import LocalCluster
from stream.settings import Settings
from tests.chromium import chromium, opened

PRODUCTS = 50
"""That are clicked, over and over."""
WARM_UP = 10
PAUSE_S = (0.05, 0.25)
MARKS = """
window.marks = new Map();
const post = window.fetch;
window.fetch = async (path, options) => {
  const answer = await post(path, options);
  if (path === 'events') {
    const { event_id: event } = JSON.parse(options.body);
    window.marks.set(event, { ...window.marks.get(event), ack: performance.now() });
  }
  return answer;
};
const Source = window.EventSource;
window.EventSource = class extends Source {
  constructor(path) {
    super(path);
    this.addEventListener('list', (sent) => {
      const event = JSON.parse(sent.data).event_id;
      window.marks.set(event, { ...window.marks.get(event), list: performance.now() });
    });
  }
};
addEventListener('click', (event) => { window.clicked = event.timeStamp; }, true);
"""
"""When what the page does has come how far, by its own clock."""


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """The whole report. Raises stream.worker_process.WorkerError where a process has died."""
    settings = Settings(bundle=pinned_bundle(asked.items), provider="cpu", text_encoder="off")
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(settings, logs=Path(folder)) as cluster,
    ):
        fill_catalogue(cluster.settings, asked.items)
        cluster.start_workers(asked.workers)
        address = cluster.start_api()
        with opened() as browser:
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.add_init_script(MARKS)
            page.goto(address)
            page.locator("#products .product").nth(PRODUCTS - 1).wait_for()
            chance = random.Random(asked.seed)
            clicks = [_click(page, at, chance) for at in range(WARM_UP + asked.clicks)]
    shown, to_list, to_ack = np.array(clicks[WARM_UP:]).T
    return {
        **{f"shown_ms_p{at}": round(float(np.percentile(shown, at)), 1) for at in (50, 90, 99)},
        "shown_ms_max": round(float(shown.max()), 1),
        "to_list_ms_p50": round(float(np.median(to_list)), 1),
        "to_ack_ms_p50": round(float(np.median(to_ack)), 1),
        "clicks": len(shown),
        "workers": asked.workers,
        "items": asked.items,
        "machine": machine(),
    }


def _click(page: Page, number: int, chance: random.Random) -> tuple[float, float, float]:
    """Milliseconds until the list was shown, had come, and the event was acknowledged."""
    time.sleep(chance.uniform(*PAUSE_S))
    before = page.locator("#wait").get_attribute("data-event") or ""
    page.locator("#products .open").nth(number % PRODUCTS).click()
    wait = page.locator(f"#wait:not([hidden]):not([data-event='{before}'])")
    wait.wait_for()
    event, shown = wait.get_attribute("data-event"), float(wait.get_attribute("data-ms") or 0)
    marks = page.evaluate("event => ({ ...marks.get(event), clicked })", event)
    # The acknowledgement may come after the list.
    ack = marks.get("ack", marks["list"])
    return shown, marks["list"] - marks["clicked"], ack - marks["clicked"]


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clicks", type=int, default=200)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--items", type=int, default=ITEM_COUNT)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="the only output there is")
    asked = parser.parse_args()
    if chromium() is None:
        sys.exit("benchmarks.console: no browser is here; on Debian: apt-get install chromium")
    os.environ.update(ONE_THREAD)  # for workers and API, which inherit it
    print_figures("console", measure(asked), None)


if __name__ == "__main__":
    main()
