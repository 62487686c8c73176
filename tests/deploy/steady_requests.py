"""
Clients that ask a gateway for short commands, one after the other, until SIGTERM, and then say how it went: one line of JSON. The exit
status is 0 if no request failed. steady_requests.py URL SECRET_FILE KEY...
"""

import collections
import http.client
import json
import pathlib
import signal
import sys
import threading
import urllib.parse

CLIENTS = 4
stop = threading.Event()


class Count:
    def __init__(self):
        self.lock = threading.Lock()
        self.requests, self.failed, self.versions = 0, [], collections.Counter()

    def add(self, failure, version=""):
        with self.lock:
            self.requests += 1
            if failure:
                self.failed.append(failure)
            else:
                self.versions[version] += 1


def ask(host, port, secret, key):
    """(what went wrong or None, the version that the sandbox's image says it is)."""
    headers = {"Authorization": f"Bearer {secret}", "X-Routing-Key": key, "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(host, port, timeout=60)
    try:
        connection.request("POST", "/run", json.dumps({"cmd": "echo $VERSION"}), headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            return f"{key}: {answer.status} {body.decode(errors='replace')}", ""
        result = json.loads(body)
        return (None if result["code"] == 0 else f"{key}: {result}"), result["stdout"].strip()
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        return f"{key}: {error!r}", ""
    finally:
        connection.close()


def client(number, address, secret, keys, count):
    turn = number
    while not stop.is_set():
        count.add(*ask(address.hostname, address.port, secret, keys[turn % len(keys)]))
        turn += 1


def main():
    address = urllib.parse.urlsplit(sys.argv[1])
    secret = pathlib.Path(sys.argv[2]).read_text()
    count = Count()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threads = [threading.Thread(target=client, args=(number, address, secret, sys.argv[3:], count)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    stop.wait()
    for thread in threads:
        thread.join()
    print(json.dumps({"requests": count.requests, "failed": count.failed[:10], "versions": count.versions}))
    return 1 if count.failed or not count.requests else 0


sys.exit(main())
