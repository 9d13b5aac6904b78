#!/usr/bin/env python3
"""How soon a browser shows a pipeline's page, and what the page weighs: first_paint.py http://HOST:PORT/ [ROUNDS]

From the request for it to the first pixels, by the browser's own clock (Paint Timing), in a headless Chromium that
was started before and has its cache switched off. The first round, in which the browser warms up, is left out.
"""
import os
import sys
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'integration'))
from browser import Page, find  # noqa: E402

PAINT = '''(performance.getEntriesByType('paint').filter(p => p.name == 'first-contentful-paint')[0] || {}).startTime'''


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if not find():
        sys.exit('needs chromium')
    url, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 20
    size = len(urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url).read())
    page, times = Page(url), []
    try:
        page.call('Network.enable')
        page.call('Network.setCacheDisabled', cacheDisabled=True)
        for i in range(rounds + 1):
            page.call('Page.navigate', url=url + 'v2')  # a page of the same server, so that no process is started
            page.wait("document.readyState == 'complete' && location.pathname == '/v2'")
            page.call('Page.navigate', url=url)
            page.wait("document.readyState == 'complete' && location.pathname == '/'")
            if i:
                times.append(page.wait(PAINT))
    finally:
        page.close()
    times.sort()
    print('first paint: median %.0f ms, best %.0f, worst %.0f (%d rounds); page: %.1f KiB' %
          (times[len(times) // 2], times[0], times[-1], len(times), size / 1024))


main()
