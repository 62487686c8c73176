"""Programs of others that download from /files, and go on by themselves after a daemon has died."""

import hashlib
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

from sandbox import BIG_TIMEOUT, wait_until

SIZE = 64 << 20
KILLS = 3

# Each is slow enough to be met in the middle. What it has so far lies in the file that it writes.
PROGRAMS = {
    "wget": ["wget", "-q", "-c", "--tries=30", "--waitretry=1", "--limit-rate=20m", "--header=@TOKEN@", "-O", "@FILE@", "@URL@"],
    "aria2c": ["aria2c", "-q", "--no-conf", "-c", "-x4", "-s4", "-k1M", "-m30", "--retry-wait=1", "--max-overall-download-limit=20M", "--file-allocation=none",
               "--allow-overwrite=true", "--auto-file-renaming=false", "--header=@TOKEN@", "-d", "/", "-o", "@FILE@", "@URL@"],
    "curl": ["curl", "-sS", "--retry", "30", "--retry-all-errors", "--retry-delay", "1", "-C", "-", "--limit-rate", "20M", "-H", "@TOKEN@", "-o", "@FILE@", "@URL@"],
}


@pytest.mark.host
@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_downloads_go_on_after_the_death_of_a_daemon(server, tmp_path, program):
    """fcgi-app is killed while it sends. The program asks for the rest, and the file is whole."""
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    source, target = pathlib.Path(server.home, "large"), tmp_path / "got"
    content = os.urandom(1 << 20) * (SIZE >> 20)
    source.write_bytes(content)
    os.chmod(server.home, 0o755)
    replaced = {"@TOKEN@": f"Authorization: Bearer {server.secret}", "@URL@": f"{server.url}/files{source}", "@FILE@": str(target)}
    command = [replaced.get(word, word.replace("@TOKEN@", replaced["@TOKEN@"])) for word in PROGRAMS[program]]
    done = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "no_proxy": "*"})
    try:
        for kill in range(1, KILLS + 1):
            wait_until(lambda kill=kill: got(target) > kill * SIZE // (2 * KILLS), "half of the file")
            assert done.poll() is None, done.stdout.read()
            old = server.kill_daemon("fcgi-app", signal.SIGKILL)
            server.back("fcgi-app", old)
        output = done.communicate(timeout=BIG_TIMEOUT)[0]
    finally:
        done.kill()
        done.wait()
    assert done.returncode == 0, output
    assert hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(content).digest()


def got(path):
    """Bytes of a file that are there: programs that have several connections leave holes."""
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0
