"""The page in a real browser: what is drawn is what is saved, nothing is lost, tabs do not overwrite each other."""

import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from dnerf_jax.io import packs, png

CHROMIUM = os.environ.get("DNERF_JAX_BROWSER") or "chromium"  # which CI sets, where it must be there
pytestmark = pytest.mark.slow


@pytest.fixture
def labels(tiny_pack, tmp_path):
    """A folder of two views of one latent, which nobody has labelled."""
    pack = tiny_pack[[0, 1]]
    packs.save(tmp_path / "labels", dataclasses.replace(pack, masks=np.full_like(pack.masks, 255)), unlabelled=True)
    return tmp_path / "labels"


@pytest.fixture
def server(labels, tiny_assets):
    """The command, running: its process and address."""
    command = [sys.executable, "-m", "dnerf_jax.label", "serve", str(labels), "--port=0"]
    process = subprocess.Popen([*command, f"--checkpoint={tiny_assets / 'heads'}"], stdout=subprocess.PIPE, text=True)
    try:
        yield process, re.search(r"http://127\.0\.0\.1:\d+/#\S+", process.stdout.readline())[0]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def browser():
    """Debian's Chromium, driven by Playwright; its tabs share their storage."""
    path = shutil.which(CHROMIUM)
    if "DNERF_JAX_BROWSER" in os.environ:
        assert path, f"{CHROMIUM} is to be there, and is not"
        from playwright import sync_api
    else:
        sync_api = pytest.importorskip("playwright.sync_api", reason="the page is driven by Playwright")
        if not path:
            pytest.skip("there is no chromium: apt install chromium")
    with sync_api.sync_playwright() as playwright:
        # CI runs as root in a container, where Chromium has no sandbox of its own.
        made = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield made.new_context(viewport={"width": 1366, "height": 768})
        made.close()


class Tab:
    """A tab, and where the pixels of the picture are in it."""

    def __init__(self, browser, address):
        self.page = browser.new_page()
        self.page.set_default_timeout(120_000)  # a busy machine compiles for a while
        self.errors = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda line: self.errors.append(line.text) if "Refused to" in line.text else None)
        self.page.goto(address)
        self.saved()

    def saved(self, text="saved"):
        self.told(text, "state")

    def told(self, text, where="where"):
        self.page.wait_for_function(
            "([where, text]) => document.getElementById(where).textContent.trim().startsWith(text)", arg=[where, text]
        )

    def at(self, x, y):
        canvas = self.page.locator("#canvas")
        box, data = canvas.bounding_box(), canvas.evaluate("canvas => ({...canvas.dataset})")
        scale = float(data["scale"])
        return (
            box["x"] + float(data["left"]) + (x + 0.5) * scale,
            box["y"] + float(data["top"]) + (y + 0.5) * scale,
        )

    def drag(self, *points, up=True):
        self.page.mouse.move(*self.at(*points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.at(*point), steps=3)
        if up:
            self.page.mouse.up()

    def keys(self, *names):
        for name in names:
            self.page.keyboard.press(name)

    def size(self, diameter):
        self.page.locator("#size").evaluate("(input, value) => { input.value = value; }", diameter)


def mask_of(labels, view=0):
    return png.load_mask(labels / f"masks/000{view}.png", png.load_label_map(labels / "labelmap.json"))


def test_what_is_drawn_is_saved_pixel_for_pixel(browser, server, labels):
    process, address = server
    tab, expected = Tab(browser, address), np.full((16, 16), 255, np.uint8)
    page = tab.page
    assert page.evaluate("document.documentElement.scrollWidth <= 1366 && document.documentElement.scrollHeight <= 768")

    def same(view=0):
        tab.saved()
        np.testing.assert_array_equal(mask_of(labels, view), expected)

    tab.size(1)
    tab.keys("2")
    tab.drag((2, 3), (12, 3))
    expected[3, 2:13] = 2
    same()
    tab.keys("3", "+")  # a class and a zoom later
    tab.size(3)
    tab.drag((7, 8))
    expected[7:10, 6:9] = 3  # all within 1.5 pixels
    same()
    tab.keys("e")
    tab.drag((7, 8))
    tab.saved()
    tab.keys("Control+z")  # the eraser's stroke
    same()
    tab.keys("Control+z", "Control+z", "Control+y", "Control+y")
    same()
    tab.keys("Home", "p", "4")
    for corner in ((1.5, 10.5), (5.5, 10.5), (5.5, 13.5), (1.5, 13.5)):  # corners of pixels 2 to 5, 11 to 13
        page.mouse.click(*tab.at(*corner))
    tab.keys("Enter")
    expected[11:14, 2:6] = 4
    same()
    tab.keys("f", "0")
    page.mouse.click(*tab.at(0, 0))
    expected[expected == 255] = 0
    same()
    tab.keys("i")
    page.mouse.click(*tab.at(3, 12))
    assert page.locator("[aria-checked=true]").inner_text().startswith("hair")
    tab.keys("b", "Home")
    tab.size(1)
    page.locator("#canvas").focus()
    page.mouse.move(*tab.at(4, 5))
    tab.keys("ArrowRight", "Shift+ArrowDown", "Enter")  # the keyboard's cursor
    expected[15, 5] = 4
    same()

    # The scene is turned, and the labels follow into its other view and into a new one.
    tab.keys("d")
    tab.told("Seen from 5 degrees")
    tab.drag((2, 2), (9, 9))  # a look is not painted on
    same()
    tab.keys("Escape", ".")
    tab.told("View 1")
    tab.keys("c")
    tab.told("carried")
    tab.saved()
    carried = mask_of(labels, 1)
    assert (carried != 255).any() and set(np.unique(carried)) <= {0, 2, 3, 4, 255}
    tab.keys("d")
    tab.told("Seen")
    tab.keys("g")
    tab.told("View 2")
    pack = packs.load(labels, unlabelled=True)
    assert len(pack) == 3 and (pack.masks[2] != 255).any() and not np.allclose(pack.cam2world[2], pack.cam2world[1])

    # Two tabs on one view: the second to save is told, and what it drew comes back with undo.
    other = Tab(browser, address)
    tab.keys(",", ",")
    tab.told("View 0")
    tab.keys("1")
    tab.drag((9, 14))
    expected[14, 9] = 1
    same()
    other.size(1)
    other.keys("2")
    other.drag((11, 11))
    other.saved("not saved: changed in another tab")
    np.testing.assert_array_equal(mask_of(labels), expected)
    other.page.get_by_role("button", name="Load the other").click()
    other.told("The other tab's labels are shown. Undo brings yours back.", "banner")
    other.keys("Control+z")
    expected[14, 9], expected[11, 11] = 0, 2
    other.saved()
    np.testing.assert_array_equal(mask_of(labels), expected)

    # The server is not reached, and the tab is closed: what it drew lies in the browser, and is saved by the next.
    other.page.route("**/mask", lambda route: route.abort())
    other.drag((13, 1))
    other.saved("not saved: the server does not answer")
    np.testing.assert_array_equal(mask_of(labels), expected)
    other.page.close()
    expected[1, 13] = 2
    other = Tab(browser, address)
    other.saved()
    np.testing.assert_array_equal(mask_of(labels), expected)
    other.size(1)
    other.keys("2")

    # The server dies in the middle of a stroke: what was drawn before is there.
    other.drag((0, 0), (4, 0))
    expected[0, :5] = 2
    other.saved()
    other.drag((0, 1), (4, 1), up=False)
    process.send_signal(signal.SIGKILL)
    process.wait()
    np.testing.assert_array_equal(mask_of(labels), expected)
    other.page.mouse.up()
    other.saved("not saved: the server does not answer")
    assert "labelling:0000_" in other.page.evaluate("Object.keys(localStorage).join()")
    assert not tab.errors and not other.errors
