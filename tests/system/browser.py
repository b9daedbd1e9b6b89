"""An operator's browser: headless chromium before the Temporal Web UI."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Locator, Page, async_playwright, expect

CHROMIUM = Path("/usr/bin/chromium")
WAIT = 20_000  # ms; a browser shares the machine with all servers
FIRST_SCREEN = {"width": 1400, "height": 900}
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
expect.set_options(timeout=WAIT)


@asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    """Debian's chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=_FLAGS)
        yield browser
        await browser.close()


@asynccontextmanager
async def new_page(browser: Browser) -> AsyncIterator[Page]:
    """A page of its own, of the size that most screens have."""
    context = await browser.new_context(viewport=FIRST_SCREEN)  # type: ignore[arg-type]
    page = await context.new_page()
    page.set_default_timeout(WAIT)
    yield page
    await context.close()


def execution_address(web_ui: str, workflow_id: str, namespace: str = "default") -> str:
    """Where the Web UI shows an execution."""
    return f"{web_ui}/namespaces/{namespace}/workflows/{workflow_id}"


async def open_question(page: Page, address: str) -> Locator:
    """Open the page of an execution that operators read; its text."""
    await page.goto(address)
    await page.get_by_role("tab", name="User Metadata").click()
    return question_of(page)


def question_of(page: Page) -> Locator:
    """The text of the page that operators read, where it is open."""
    frame = page.frame_locator("iframe#user-metadata-current-details:visible")
    return frame.locator("body")


async def send(page: Page, signal: str, words: str = "") -> None:
    """Send a signal by clicks, with `words` as its input where there are any."""
    await open_signals(page)
    await choose(page, signal, words)


async def open_signals(page: Page) -> None:
    """Open the list of signals."""
    await page.get_by_role("button", name="More Actions").locator("visible=true").first.click()
    await page.get_by_role("menuitem", name="Send a Signal").locator("visible=true").click()
    dialog = page.get_by_role("dialog").locator("visible=true")
    await dialog.get_by_role("button", name="Select a signal").click()


async def choose(page: Page, signal: str, words: str = "") -> None:
    """Choose from the open list, and submit."""
    dialog = page.get_by_role("dialog").locator("visible=true")
    await page.get_by_role("option", name=signal).locator("visible=true").first.click()
    if words:
        await dialog.get_by_role("textbox").last.fill(words)
    await dialog.get_by_role("button", name="Submit").click()
    await expect(page.locator("#workflow-signal-success-toast")).to_be_visible()


async def cancel(page: Page) -> None:
    """Request cancellation by clicks, as the big button does; the server has it then."""
    await page.get_by_role("button", name="Request Cancellation").locator("visible=true").click()
    dialog = page.get_by_role("dialog").locator("visible=true")
    await dialog.get_by_role("button", name="Confirm").click()
    await expect(dialog).to_be_hidden()
