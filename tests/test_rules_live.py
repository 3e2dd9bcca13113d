"""A running worker follows its file of rules."""

from pathlib import Path

from serving.recommendation import Recommendation
from stream.settings import Settings
from tests.shop import running_shop


def pinned(item: str) -> str:
    return f'[[pin]]\nitems = ["{item}"]\nposition = 1\n'


def test_a_changed_file_holds_without_a_restart(stream_settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(pinned("tea-3"))
    settings = stream_settings.model_copy(update={"rules": file, "diversity": 0.2})
    with running_shop(settings, tmp_path) as shop:
        first = shop.list_for(shop.send_click("ana", "book-1"))
        assert (first.items[0].item_id, first.items[0].placed) == ("tea-3", "pinned")

        file.write_text(pinned("phone-7"))

        def pinned_anew() -> Recommendation | None:
            made = shop.list_for(shop.send_click("ana", "book-2"))
            return made if made.items[0].item_id == "phone-7" else None

        assert shop.wait_for(pinned_anew, "a list by the new rules").items[0].placed == "pinned"
