"""Processes with a terminal, as tests drive them."""

import pathlib

from sandbox import DEADLINE, wait_until


class Terminal:
    """A process with a terminal, and its output as it is on the disk."""

    def __init__(self, server, cmd=None, pty=None, **fields):
        answer = server.post("/start_process", **({} if cmd is None else {"cmd": cmd}), pty={} if pty is None else pty, **fields)
        assert answer.status_code == 201, answer.text
        self.server, self.id, self.pid = server, answer.json()["id"], answer.json()["pid"]
        server.started.append(self.id)
        self.directory = server.run_dir / "state/jobs" / self.id

    def output(self):
        """What the log has; retention must not have begun."""
        return b"".join(path.read_bytes() for path in sorted(self.directory.glob("bytes.*")))

    def shows(self, text, count=1):
        """Waits until the output has `text` so many times."""
        class Missing:
            def __str__(_):
                return f"{text!r} in the output, which is {self.output()[-500:]!r}"

        wait_until(lambda: self.output().count(text) >= count, Missing())

    def write(self, data, **fields):
        return self.server.post("/write_stdin", id=self.id, data=data, **fields)

    def types(self, data):
        answer = self.write(data)
        assert answer.status_code == 200 and answer.json() == {"success": True, "written": len(data.encode()), "full": False}, answer.text

    def signal(self, name):
        answer = self.server.post("/kill_process", id=self.id, signal=name)
        assert answer.status_code == 200 and answer.json()["message"] == "Signal sent", answer.text

    def resize(self, cols, rows):
        return self.server.post("/resize_terminal", id=self.id, cols=cols, rows=rows)

    def described(self):
        return self.server.get(f"/get_process?id={self.id}").json()

    def end(self):
        """Waits for the end of the process and returns its description."""
        answer = self.server.post("/wait_process", id=self.id, timeout_ms=int(DEADLINE * 1000)).json()
        assert answer["status"] != "running", self.output()[-500:]
        return answer


def foreground(pid):
    """The foreground process group of the terminal of a process."""
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[5])
