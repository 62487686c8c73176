"""Process trees that try to get away; {sleep} is a command that runs for a day and bears the test's mark."""

DAEMON = (
    "import os, sys\n"
    "if os.fork(): os._exit(0)\n"
    "os.setsid()\n"
    "if os.fork(): os._exit(0)\n"
    "os.chdir('/')\n"
    "null = os.open('/dev/null', os.O_RDWR)\n"
    "for number in range(3): os.dup2(null, number)\n"
    "os.execlp('sh', 'sh', '-c', sys.argv[1])\n"
)

# name: (shell command that stays in the foreground, how many of the sleeps run once it is up)
TREES = {
    "one process": ("exec {sleep}", 1),
    "a child": ("{sleep} & wait", 1),
    "setsid": ("setsid {sleep} & {sleep}", 2),
    "setsid that forks": ("setsid -f {sleep}; {sleep}", 2),
    "double fork": ("( ( {sleep} & ) & ); {sleep}", 2),
    "double fork and setsid": ("( setsid sh -c '{sleep} & {sleep}' & ); {sleep}", 3),
    "empty environment": ("env -i setsid {sleep} & env -i {sleep}", 2),
    "deaf to SIGTERM": ("trap '' TERM HUP INT; {sleep} & {sleep}", 2),
    "nohup": ("nohup setsid {sleep} >/dev/null 2>&1 & {sleep}", 2),
    "stopped": ("{sleep} & kill -STOP $!; {sleep}", 1),
    "one that starts another": ("trap '' TERM; while :; do {sleep}; done", 1),
    "a daemon": ("/usr/bin/python3 -c \"$DAEMON\" '{sleep}'; {sleep}", 2),
    "a daemon deaf to SIGTERM": ("/usr/bin/python3 -c \"$DAEMON\" 'trap \"\" TERM; {sleep} & {sleep}'; {sleep}", 3),
    "40 children": ("i=0; while [ $i -lt 40 ]; do {sleep} & i=$((i + 1)); done; wait", 40),
    "a chain of 20": ("chain() {{ if [ $1 -gt 0 ]; then ( chain $(($1 - 1)) ; : ); else {sleep}; fi; }}; chain 20", 1),
    "children of an orphan": ("setsid sh -c '( {sleep} & {sleep} & ) ; {sleep}' & {sleep}", 4),
}


def plant(kind, marker):
    """(cmd and env of the tree, how many sleeps to wait for)"""
    command, count = TREES[kind]
    return {"cmd": command.format(sleep=marker.sleep), "env": {"DAEMON": DAEMON}}, count
