"""What GET /metrics says, as a test compares it."""

import requests

from sandbox import TIMEOUT, Port, Server, wait_until

PREFIX = "nginx_sandbox_"


def parse(text):
    """{"name{labels}": value} of the samples, without what all names begin with."""
    samples = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
    figures = {name.removeprefix(PREFIX): float(value) for name, _, value in samples}
    assert len(figures) == len(samples), "a sample comes twice"
    return figures


class Measured(Server):
    """A server with a listener for Prometheus."""

    def __init__(self, settings=None, address="127.0.0.1"):
        self.metrics_port = Port()
        self.metrics_url = f"http://{address}:{self.metrics_port.number}"
        super().__init__({"SANDBOX_METRICS_LISTEN": f"{address}:{self.metrics_port.number}", **(settings or {})})

    def close(self, *arguments, **options):
        super().close(*arguments, **options)
        self.metrics_port.free()

    def scrape(self):
        """As Prometheus does it: by nobody in particular."""
        answer = requests.get(self.metrics_url + "/metrics", timeout=TIMEOUT)
        assert answer.status_code == 200, answer.text
        return answer

    def figures(self):
        return parse(self.scrape().text)

    def moved(self, before, prefix):
        """{name: by how much} of those with this prefix that are not as `before`, but for what scrapes move themselves."""
        now = self.figures()
        return {name: value - before.get(name, 0) for name, value in now.items()
                if name.startswith(prefix) and value != before.get(name, 0) and 'endpoint="/metrics"' not in name}

    def moves(self, before, prefix, expected):
        """Waits until just these have moved, by so much."""
        last = {}

        def look():
            last.clear()
            last.update(self.moved(before, prefix))
            return last == expected

        try:
            wait_until(look, prefix)
        except AssertionError:
            raise AssertionError(f"{prefix} moved by {last}, not by {expected}") from None
