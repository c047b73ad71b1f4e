"""Look at every page of the built site in a real browser, at the widths of a phone and of a desk.

python docs/browser_check.py                    after `make docs`; needs Chromium or Chrome
python docs/browser_check.py --browser /usr/bin/google-chrome

Exit code 1 if a page is wider than its window, a table, listing or picture is clipped, a picture is missing, or a link
within the site leads nowhere.
"""

from __future__ import annotations

import argparse
import functools
import html
import json
import shutil
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SITE = Path(__file__).parent / "_build" / "html"
SCRIPT = Path(__file__).with_suffix(".js")
WIDTHS = {"phone": 390, "desk": 1280}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 600
_CHECK = "/__check__"


def main() -> int:
    """Look at all pages; 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--browser", default=next(filter(None, map(shutil.which, BROWSERS)), None))
    browser = parser.parse_args().browser
    if browser is None or not SITE.is_dir():
        sys.stderr.write("error: needs Chromium or Chrome, and the site: make docs\n")
        return 2
    faults = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(SITE))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name, width in WIDTHS.items():
            found = looked_at(browser, f"http://127.0.0.1:{server.server_port}{_CHECK}{width}", width)
            wrong = [f"{page}: {fault}" for page, list_ in found["faulty"].items() for fault in list_]
            wrong += [f"broken link: {link}" for link in found["broken"]]
            print(f"{name}, {width} px: {found['pages']} pages, {found['links']} links, {len(wrong)} faults")
            print("".join(f"  {line}\n" for line in wrong), end="")
            faults += len(wrong)
        server.shutdown()
    return int(faults > 0)


def looked_at(browser: str, address: str, width: int) -> dict[str, Any]:
    """What the script in the browser found."""
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={max(width, 500) + 50},1000")
    patience = (f"--virtual-time-budget={1000 * SECONDS}", f"--timeout={1000 * SECONDS}")
    process = subprocess.run(  # noqa: S603 - the user's own browser, on pages of this repository
        [browser, *options, *patience, "--dump-dom", address],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    _, _, rest = process.stdout.partition('<pre id="found">')
    found: dict[str, Any] = json.loads(html.unescape(rest.partition("</pre>")[0]))
    return found


class Handler(SimpleHTTPRequestHandler):
    """Serves the site, and under an address of its own the page that looks at it."""

    def do_GET(self) -> None:
        """Answer with a page of the site, or with the one that looks at it."""
        if not self.path.startswith(_CHECK):
            super().do_GET()
            return
        pages = sorted(str(path.relative_to(SITE)) for path in SITE.rglob("*.html") if "_static" not in path.parts)
        request = json.dumps({"pages": pages, "width": int(self.path.removeprefix(_CHECK))})
        body = (
            f'<!doctype html><pre id="found"></pre><script type="application/json" id="request">{request}</script>'
            f'<script type="module">{SCRIPT.read_text(encoding="utf-8")}</script>'
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


if __name__ == "__main__":
    raise SystemExit(main())
