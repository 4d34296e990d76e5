"""Drives the real page of a running daemon in Chromium, as an experimenter would, and fails on the first thing amiss.

usage: drive_panel.py URL AXE_JS OUT [--page FOLDER]

The daemon must run the twin, idle, with a camera that vanishes a while after arming and comes back. OUT gets screenshots and
axe's findings. --page serves the page's files from a folder instead of the daemon's own (for working on the page).
"""

import argparse
import json
import pathlib
import re
import sys
import time

from playwright.sync_api import expect, sync_playwright

FLAGS = ["--no-sandbox", "--disable-gpu", "--use-gl=swiftshader", "--enable-unsafe-swiftshader", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--no-first-run"]
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
LONG = 90_000


class Drive:
    """One page, what it logged, and what axe found."""

    def __init__(self, page, url, axe, out):
        self.page, self.url, self.axe, self.out = page, url, axe, out
        self.trouble, self.findings = [], {}
        # What a software renderer says of its own speed is no fault of the page.
        loud = lambda message: message.type in ("error", "warning") and "GL Driver Message" not in message.text
        page.on("console", lambda message: loud(message) and self.trouble.append(f"console {message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.trouble.append(f"page error: {error}"))
        page.on("request", lambda request: request.url.startswith((url, "data:", "blob:")) or self.trouble.append(f"foreign request: {request.url}"))
        page.on("response", lambda response: response.status >= 400 and self.trouble.append(f"{response.status} {response.url}"))

    def step(self, text):
        print(f"{time.monotonic() - BEGUN:6.1f} s  {text}", flush=True)

    def state(self, word, timeout=LONG):
        expect(self.page.locator("#state")).to_have_attribute("data-state", word, timeout=timeout)

    def shot(self, name, full=False):
        """A picture of the page at rest: while it draws, a busy machine without a GPU never finishes one."""
        self.page.evaluate("window.real = requestAnimationFrame; window.held = []; window.requestAnimationFrame = (draw) => held.push(draw); 0")
        self.page.screenshot(path=str(self.out / f"{name}.png"), full_page=full, timeout=LONG)
        self.page.evaluate("window.requestAnimationFrame = real; held.forEach((draw) => real(draw)); 0")

    def theme(self, wish):
        self.page.evaluate("wish => { const r = document.querySelector(`input[name=theme][value=${wish}]`); r.checked = true; r.onchange(); }", wish)

    def check(self, name):
        """Axe in light and dark."""
        if not self.page.evaluate("typeof axe !== 'undefined'"):
            self.page.evaluate(self.axe)
        for wish in ("light", "dark"):
            self.theme(wish)
            self.page.wait_for_timeout(250)
            found = self.page.evaluate("tags => axe.run(document, { runOnly: tags, resultTypes: ['violations'] }).then(r => r.violations)", TAGS)
            lines = [f"{v['id']} ({v['impact']}): {v['help']}: " + "; ".join(f"{n['target']} {n['failureSummary']}" for n in v["nodes"][:4]) for v in found]
            self.findings[f"{name}, {wish}"] = lines
            self.step(f"axe, {name}, {wish}: {'clean' if not lines else lines}")

    def told(self, pattern, timeout=LONG):
        """Said by a toast, or (toasts go after seconds) in the event log."""
        expect(self.page.locator("#toasts div, #events li").filter(has_text=re.compile(pattern)).first).to_be_visible(timeout=timeout)

    def fits(self, name):
        over = self.page.evaluate("document.scrollingElement.scrollWidth - innerWidth")
        assert over <= 0, f"{name}: the page is {over} px wider than the window"


def idle(drive):
    page = drive.page
    page.goto(drive.url, wait_until="domcontentloaded", timeout=LONG)
    drive.state("idle")
    expect(page.locator("#disk")).not_to_have_text(re.compile("^(0 B|–)$"))
    for button, enabled in (("arm", True), ("record", True), ("mark", False), ("stop", False), ("disarm", False)):
        expect(page.locator(f"#{button}")).to_be_enabled(enabled=enabled)
    drive.shot("idle")
    drive.check("idle")
    page.keyboard.press("?")
    expect(page.locator("#more-dialog")).to_be_visible()
    drive.check("outputs and keys")
    page.keyboard.press("Escape")
    expect(page.locator("#more-dialog")).to_be_hidden()
    for key in "ms":  # nothing to mark or to stop
        page.keyboard.press(key)
    expect(page.locator("dialog[open]")).to_have_count(0)


def arm(drive):
    page = drive.page
    page.keyboard.press("a")
    drive.state("armed")
    if not page.locator("#preflight-dialog").is_visible():
        page.keyboard.press("p")
    expect(page.locator("#preflight-dialog")).to_be_visible()
    assert page.locator("#preflight tbody tr").count() >= 8, "a check for each device"
    drive.shot("preflight")
    drive.check("pre-flight")
    page.keyboard.press("Escape")


def record(drive):
    page = drive.page
    page.keyboard.press("r")
    page.locator("#f-subject").fill("../etc/passwd")
    page.locator("#record-form button[type=submit]").click()
    expect(page.locator("#record-dialog")).to_be_visible()
    expect(page.locator("#e-subject")).to_have_class(re.compile("bad"))
    drive.check("metadata form")
    page.locator("#f-subject").fill("rat07")
    page.locator("#f-experiment").fill("open field")
    page.locator("#f-operator").fill("mk")
    page.locator("#f-notes").fill("first line\nsecond line")
    drive.shot("form")
    page.locator("#f-operator").press("Enter")
    drive.state("recording")
    drive.told("recording \\d+T\\d+Z_rat07")
    assert page.title().startswith("● recording"), page.title()
    expect(page.locator("#elapsed")).to_have_text(re.compile(r"0:0\d:(0[2-9]|[1-9]\d)"), timeout=LONG)


def live(drive):
    """Pictures, keypoints on them, both rats, spikes, latency, clocks."""
    page = drive.page
    for index in range(6):
        view = page.locator(".view").nth(index)
        page.wait_for_function("view => { const [image, marks] = view.querySelectorAll('canvas'); if (image.width < 300) return false;"
                               " const d = marks.getContext('2d').getImageData(0, 0, marks.width, marks.height).data; return d.some((v) => v); }",
                               arg=view.element_handle(), timeout=LONG)
    expect(page.locator("#virtual-note")).to_have_text(re.compile("ms behind"), timeout=LONG)
    expect(page.locator("#sync-note")).to_have_text(re.compile("^9 of 9 locked"), timeout=LONG)
    expect(page.locator("#latency-note")).to_have_text(re.compile("p50 .*p99"), timeout=LONG)
    expect(page.locator("#spikes-note")).to_have_text(re.compile("A [1-9]\\d*/s"), timeout=LONG)
    page.wait_for_timeout(2500)


def mark(drive):
    page = drive.page
    page.keyboard.press("m")
    page.keyboard.type("tone on")
    drive.shot("mark")
    page.keyboard.press("Enter")
    drive.told("marked: tone on")
    expect(page.locator("#events")).to_contain_text("marked: tone on", timeout=LONG)


def unplugged(drive):
    page = drive.page
    banner = page.locator("#banners .degraded")
    expect(banner).to_contain_text(re.compile("camera \\S+ does not deliver"), timeout=LONG)
    expect(page.locator(".view.lost")).to_have_count(1)
    drive.shot("degraded")
    drive.check("degraded")
    drive.state("recording")
    expect(banner).to_have_count(0, timeout=LONG)
    expect(page.locator(".view.lost")).to_have_count(0)
    drive.shot("counters", full=True)


def stop(drive):
    page = drive.page
    page.keyboard.press("s")
    expect(page.locator("#stop-dialog")).to_be_visible()
    drive.check("stop")
    drive.shot("stop")
    page.get_by_role("button", name="Keep recording").click()
    drive.state("recording")
    page.keyboard.press("s")
    page.get_by_role("button", name="Stop and seal").click()
    drive.state("armed", timeout=4 * LONG)  # sealing waits for the disk and hashes everything
    drive.told("sealed \\d+T\\d+Z_rat07")


def recordings(drive):
    page = drive.page
    row = page.locator("#recordings tbody tr").filter(has_text="_rat07")
    expect(row).to_have_count(1, timeout=LONG)
    row.get_by_role("button", name=re.compile("^Verify")).click()
    expect(row.locator(".chip")).to_have_text("verified", timeout=LONG)
    row.get_by_role("button", name=re.compile("^Report")).click()
    link = row.get_by_role("link", name=re.compile("report", re.I))
    expect(link).to_be_visible(timeout=LONG)
    report = page.request.get(drive.url.rstrip("/") + link.get_attribute("href"))
    assert report.ok and "<svg" in report.text(), report.status
    # The list is made anew with each look, and a quick export is over before a driver has seen it go on: the page itself takes note.
    page.evaluate("""window.chips = []; new MutationObserver(() => document.querySelectorAll('#recordings .chip').forEach((chip) =>
        chips.at(-1) !== chip.textContent && chips.push(chip.textContent))).observe(document.querySelector('#recordings'), { childList: true, subtree: true }); 0""")
    row.get_by_role("combobox").select_option("parquet")
    expect(row).to_contain_text(re.compile("\\d+ files in"), timeout=LONG)
    chips = page.evaluate("chips")
    assert any(re.fullmatch("export \\d+ %", chip) for chip in chips) and chips[-1] == "verified", f"progress, then the verdict again: {chips}"
    page.locator(".recordings").scroll_into_view_if_needed()
    drive.shot("recordings")
    drive.check("recordings")
    with page.context.expect_page() as opened:
        link.click()
    opened.value.wait_for_load_state()
    opened.value.screenshot(path=str(drive.out / "report.png"))
    opened.value.close()


def sizes(drive):
    page = drive.page
    for name, width, height, wish in (("tablet", 834, 1112, "light"), ("phone", 390, 844, "dark"), ("laptop", 1440, 900, "light"), ("wide", 1920, 1080, "dark")):
        page.set_viewport_size({"width": width, "height": height})
        drive.theme(wish)
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_timeout(1500)
        drive.fits(name)
        drive.shot(name)


def disarm(drive):
    drive.page.get_by_role("button", name="Disarm").click()
    drive.state("idle")


def main():
    parser = argparse.ArgumentParser()
    for name in ("url", "axe", "out"):
        parser.add_argument(name)
    parser.add_argument("--page")
    options = parser.parse_args()
    out = pathlib.Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        # A page that the daemon did not send may not reach into the machine otherwise.
        flags = FLAGS + (["--disable-features=LocalNetworkAccessChecks"] if options.page else [])
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=flags)
        page = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme="light")
        if options.page:
            folder = pathlib.Path(options.page)
            page.route(re.compile(r"/([a-z]+\.(js|css|svg))?$"), lambda route: route.fulfill(path=folder / (route.request.url.rsplit("/", 1)[1] or "index.html")))
        drive = Drive(page, options.url, pathlib.Path(options.axe).read_text(), out)
        try:
            for act in (idle, arm, record, live, mark, unplugged, stop, recordings, sizes, disarm):
                drive.step(act.__name__)
                act(drive)
        except BaseException:
            drive.shot("failed", full=True)
            print("\n".join(drive.trouble))
            raise
        finally:
            browser.close()
    (out / "axe.json").write_text(json.dumps(drive.findings, indent=1))
    broken = [f"axe, {name}: {line}" for name, lines in drive.findings.items() for line in lines] + drive.trouble
    print("\n".join(broken) if broken else f"{len(drive.findings)} axe runs clean; no error, no warning, no foreign request")
    return 1 if broken else 0


BEGUN = time.monotonic()
if __name__ == "__main__":
    sys.exit(main())
