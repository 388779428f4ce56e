"""A headless Chromium, driven through the WebDriver protocol on the loopback address."""

import base64
import contextlib
import json
import shutil
import subprocess
import urllib.error
import urllib.request

import cv2
import numpy as np
import pytest

CHROME = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(not (CHROME and DRIVER), reason="needs chromium and chromedriver on the PATH")


class Browser:
    """One window, and what WebDriver can ask of it."""

    def __init__(self, port, width=1280):
        self.root = f"http://127.0.0.1:{port}"
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={width},900"]
        options = {"binary": CHROME, "args": [*arguments, "--autoplay-policy=no-user-gesture-required"]}
        logs = {"browser": "ALL", "performance": "ALL"}
        wanted = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": logs}}
        self.session = self.call("POST", "/session", {"capabilities": wanted})["sessionId"]
        self.call("POST", f"/session/{self.session}/timeouts", {"script": 60_000})

    def call(self, verb, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.root + path, data, {"Content-Type": "application/json"}, method=verb)
        with urllib.request.urlopen(request, timeout=120) as response:
            return json.load(response)["value"]

    def open(self, url):
        self.call("POST", f"/session/{self.session}/url", {"url": url})

    def run(self, script, *arguments, kind="sync"):
        return self.call("POST", f"/session/{self.session}/execute/{kind}", {"script": script, "args": list(arguments)})

    def log(self, name="browser"):
        return self.call("POST", f"/session/{self.session}/se/log", {"type": name})

    def devtools(self, command, **parameters):
        body = {"cmd": command, "params": parameters}
        return self.call("POST", f"/session/{self.session}/goog/cdp/execute", body)

    def requests(self):
        """The addresses that the page has asked for since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]

    def screenshot(self):
        """The whole page as an (H, W, 3) uint8 RGB array, one pixel per CSS pixel."""
        size = self.devtools("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        data = self.devtools("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
        return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


@contextlib.contextmanager
def open_browser():
    """A browser that ends with the block."""
    process = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        lines = (line for line in process.stdout if "successfully on port" in line)
        opened = Browser(int(next(lines).rsplit("port ", 1)[1].rstrip(".\n")))
        yield opened
        with contextlib.suppress(urllib.error.URLError):
            opened.call("DELETE", f"/session/{opened.session}")
    finally:
        process.terminate()
        process.wait(timeout=20)
