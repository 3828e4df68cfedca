"""The page in a real browser: what is drawn is what is saved, nothing is lost, tabs do not overwrite each other."""

import dataclasses
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
import stand_ins

from dnerf_jax import cli
from dnerf_jax.io import folders, packs, png
from dnerf_jax.labelling import server as servers
from dnerf_jax.labelling.repainting import Editor
from dnerf_jax.labelling.scene_session import SceneSession
from dnerf_jax.labelling.seeing import Eye
from dnerf_jax.labelling.session import Session
from dnerf_jax.labelling.teaching import Teacher
from dnerf_jax.labelling.workspace import Workspace
from dnerf_jax.training import branch

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
def hosted():
    """Serves a session from a thread of this process, so that others can stand for its processes: the address."""
    uvicorn, running = pytest.importorskip("uvicorn"), []

    def host(session):
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        app = servers.make_app(session, port, "secret")
        made = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=made.run, kwargs={"sockets": [listening]})
        thread.start()
        running.append((session, made, thread, listening))
        return f"http://127.0.0.1:{port}/#secret"

    yield host
    for session, made, thread, listening in running:
        made.should_exit = True
        thread.join()
        listening.close()
        session.close()


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
    x, _, z = packs.load(labels, unlabelled=True).cam2world[0, :3, 3]
    tab.told(f"Seen from {np.round(np.degrees(np.arctan2(x, z)), 1) + 5:g} degrees to the side,")
    tab.drag((2, 2), (9, 9))  # a look is not painted on
    same()
    tab.keys("9")
    tab.told("There is no class 9")
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
    tab.keys(",")
    tab.told("View 1,")
    tab.keys("d")
    tab.told("Seen")
    tab.keys("g")
    tab.told("That is view 2", "banner")
    tab.keys(",")
    tab.told("View 1,")
    tab.keys("a")
    tab.told("Seen")
    page.evaluate("for (const id of ['add', 'previous']) document.getElementById(id).click()")
    tab.told("View 3 is made", "banner")  # and who went on meanwhile is where they went
    tab.told("View 0,")
    assert len(packs.load(labels, unlabelled=True)) == 4

    # Two tabs on one view: the second to save is told, and what it drew comes back with undo.
    other = Tab(browser, address)
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

    # The server is not reached, and the tab is closed: what it drew lies in the browser, and is saved by the next,
    # whichever view that opens; where the mask is another by then, Undo brings it back.
    for changed in (False, True):
        for each in (other, tab) if changed else (other,):
            each.keys(".")
            each.told("View 1")
        other.page.route("**/mask", lambda route: route.abort())
        other.drag((13 - changed, 1))
        other.saved("not saved: the server does not answer")
        np.testing.assert_array_equal(mask_of(labels, 1), carried)
        other.page.close()
        mine = carried.copy()
        mine[1, 13 - changed] = 2
        if changed:
            tab.drag((13, 9))
            tab.saved()
            carried[9, 13] = 1
            np.testing.assert_array_equal(mask_of(labels, 1), carried)
        other = Tab(browser, address)
        other.size(1)
        other.keys("2")
        if changed:
            other.keys(".")
            other.told("This view was changed", "banner")
            np.testing.assert_array_equal(mask_of(labels, 1), carried)
            other.keys("Control+z")
            other.saved("saved")
            other.keys(",")
            other.told("View 0")
        np.testing.assert_array_equal(mask_of(labels, 1), mine)
        carried = mine

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


def reached(start, walls, may):
    """Pixels (y, x) that are reached from one through those that may be, walls aside: as the page's tools do."""
    found, left = {start}, [start]
    while left:
        y, x = left.pop()
        beside = [((y, x + 1), walls[y, x] & 1), ((y + 1, x), walls[y, x] & 2)]
        beside += [((y, x - 1), walls[y, x - 1] & 1)] if x else []
        beside += [((y - 1, x), walls[y - 1, x] & 2)] if y else []
        for (v, u), wall in beside:
            if v < 16 and u < 16 and not wall and may(v, u) and (v, u) not in found:
                found.add((v, u))
                left.append((v, u))
    return tuple(np.transpose(list(found)))


def test_brush_and_fill_stop_at_depth_edges_and_a_training_predicts(
    browser, hosted, labels, tiny_model, tiny_checkpoint, shrunk
):
    settings = cli.as_dataclass(shrunk("heads.py"), branch.Settings)
    with folders.claimed(labels):
        teacher = Teacher(str(tiny_checkpoint), settings, labels.parent / "runs")
        teacher.runs._work = stand_ins.teaches
        session = Session(Workspace(labels), Eye(tiny_model), teacher)
        tab, walls = Tab(browser, hosted(session)), session.edges(0)
        discs = {
            (y, x): reached((y, x), walls, lambda v, u, y=y, x=x: (v - y) ** 2 + (u - x) ** 2 <= 6.25)
            for y, x in np.argwhere(walls[2:14, 2:14]) + 2
        }
        (y, x), disc = min(discs.items(), key=lambda pair: len(pair[1][0]))
        assert len(disc[0]) < 21, "a wall is in the way of the brush"
        tab.keys("l")
        tab.told("Brush and fill stop")
        tab.keys("2")
        tab.size(5)
        tab.drag((x, y))
        tab.saved()
        expected = np.full((16, 16), 255, np.uint8)
        expected[disc] = 2
        np.testing.assert_array_equal(mask_of(labels), expected)
        start = tuple(np.argwhere(expected == 255)[0])
        tab.keys("f", "3")
        tab.page.mouse.click(*tab.at(*start[::-1]))
        tab.saved()
        expected[reached(start, walls, lambda v, u: expected[v, u] == 255)] = 3
        np.testing.assert_array_equal(mask_of(labels), expected)

        assert tab.page.locator("#predict").is_disabled() and not tab.page.locator("#apply").is_visible()
        tab.keys(".")
        tab.told("View 1")
        tab.keys("t")
        tab.told("trained", "job")
        tab.keys("n")
        tab.told("predicted")
        tab.saved()
        np.testing.assert_array_equal(mask_of(labels, 1), session.prediction(1)[0])
        assert not tab.errors


def test_a_scene_is_painted_edited_and_left_again(browser, hosted, scene, edit_settings, tmp_path):
    out = tmp_path / "edits"
    with folders.claimed(out):
        session = SceneSession(scene, out, Editor(edit_settings, out))
        session.editor.runs._work = stand_ins.takes_long
        address = hosted(session)
        tab, expected = Tab(browser, address), session.space.mask(0).copy()
        page = tab.page
        assert page.locator("#apply").is_visible() and not page.locator("#train").is_visible()
        tab.keys("Control+Enter")
        tab.told("nothing is painted", "banner")
        tab.size(1)
        tab.keys("2")
        tab.drag((3, 3), (9, 3))
        expected[3, 3:10] = 2
        tab.keys("Control+Enter")  # at once: what is applied is what is saved
        tab.told("w+: step 3 of 100", "job")
        tab.keys("1")
        tab.drag((4, 5), (7, 5))  # painting goes on
        expected[5, 4:8] = 1
        page.get_by_role("button", name="Stop", exact=True).click()
        tab.told("stopped", "job")
        tab.saved()
        np.testing.assert_array_equal(session.space.mask(0), expected)

        session.editor.runs._work = stand_ins.edits
        tab.keys("Control+Enter")
        page.locator("#result").wait_for(state="visible")
        assert "0.50 before, 0.75 after" in page.locator("#facts").inner_text()
        assert page.locator("#facts").inner_text().count("0.2500") == 1
        assert page.locator("#doubts").inner_text() == "Doubt: it was made up."
        tab.keys("Escape")
        tab.told("Edit 1")
        assert page.locator("#views button").all_inner_texts()[1] == "Edit 1"
        tab.keys("d")
        tab.told("Seen from 15 degrees")
        tab.keys("g")
        tab.told("Edit 1, from 15, 0")
        tab.keys(",", "r")
        tab.told("Start")
        tab.drag((3, 12))
        expected[12, 3] = 1
        tab.saved()
        page.reload()
        tab.saved()
        tab.told("Start")  # what was open last
        np.testing.assert_array_equal(session.space.mask(0), expected)
        assert not tab.errors
