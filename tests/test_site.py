"""The site builds without warnings, and a browser without a network shows its formulas."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


WITHOUT_CODE = """
for (const each of document.querySelectorAll("code")) each.remove();
return document.querySelector("article").innerText;
"""
"""The text of a page less that of code, where backslashes and dollars are allowed."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for module in ("mkdocs", "material"):
        pytest.importorskip(module, reason='the site needs pip install ".[docs]"')
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_a_browser_renders_every_formula(site, driver):
    pages = [page for page in sorted(site.rglob("*.html")) if 'class="arithmatex"' in page.read_text()]
    assert len(pages) >= 11
    driver.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    driver.get_log("browser")
    for page in pages:
        written = page.read_text().count('class="arithmatex"')
        driver.get(page.as_uri())
        rendered = driver.execute_script("""
            await document.fonts.ready;
            const shown = [...document.querySelectorAll(".arithmatex > .katex, .arithmatex > .katex-display")];
            return shown.filter((each) => each.getBoundingClientRect().height > 8).length;
        """)
        assert rendered == written, page
        assert driver.execute_script("return document.querySelectorAll('.katex-error').length") == 0, page
        shown = driver.execute_script(WITHOUT_CODE)
        assert not re.search(r"\\[a-zA-Z(\[]{2,}|\$\$", shown), page
        assert driver.get_log("browser") == [], page


EVERY_KIND = ("index.html", "notebooks/first-gan/index.html", "guide/losses/index.html", "gallery/index.html")
"""Pages with all that a page may have: notebooks, formulas, pictures, tables, code."""


@pytest.mark.slow
@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.exhaustive)], ids=["some", "every"])
def test_axe_finds_no_barrier(site, driver, find_barriers, view, every):
    pages = [page for page in sorted(site.rglob("*.html")) if page.name != "404.html"]
    chosen = [page for page in pages if every or str(page.relative_to(site)) in EVERY_KIND]
    assert len(chosen) >= len(EVERY_KIND)
    driver.set_script_timeout(120)  # pages of the reference are long
    size = {"width": view[1], "height": 800, "deviceScaleFactor": 1, "mobile": view[1] < 500}
    found = {}
    for page in chosen:
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)  # the theme looks at it when a page loads
        driver.get(page.as_uri())
        found[str(page.relative_to(site))] = find_barriers(driver, *view)
        assert driver.find_element("css selector", ".md-search").get_attribute("aria-label") == "Search"
    assert not (said := [f"{page}: {each}" for page, barriers in found.items() for each in barriers]), "\n".join(said)
