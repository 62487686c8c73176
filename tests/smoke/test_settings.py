"""The settings stand in the sources, `--help`, docs/configuration.md, the README, the manual page and docker-compose.yml. They must agree."""

import re
import subprocess

from sandbox import BIN, REPOSITORY

NAME = r"SANDBOX_[A-Z_]+|(?:PROXY_)?PORT|LOG_LEVEL"
UNITS = {"SIZE": {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30},
         "TIME": {"": 1000, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000},
         "NUMBER": {"": 1}}

# What docker-compose.yml does not pass on, and why.
NOT_IN_COMPOSE = {
    "PORT": "of the host, by `ports`",
    "PROXY_PORT": "the same",
    "SANDBOX_RUN_DIR": "nothing outside of the container sees it",
    "SANDBOX_ROUTE_BY": "of `nginx-sandbox render`",
}


def in_sources():
    """{name: (kind, default, least, most)} of the table, in units of 1 or ms, and all names that anything asks the environment for."""
    table = (REPOSITORY / "common/settings.c").read_text()
    macros = {"UINT64_C": int, "INT64_MAX": 2**63 - 1}

    def number(expression):
        return eval(re.sub(r"(\d)U\b", r"\1", expression.replace("(uint64_t)", "")), macros)

    for name, value in re.findall(r"^#define (\w+) +([^/\n]+)", (REPOSITORY / "common/settings.h").read_text() + table, re.M):
        macros[name] = number(value)
    rows = re.findall(r'\{"(\w+)", MEMBER\(\w+\), KIND_(\w+), ([^,]+), ([^,]+), ([^}]+)\}', table)
    settings = {name: (kind, *map(number, numbers)) for name, kind, *numbers in rows}
    # It may be 0 as well, which a row of the table cannot express.
    settings["SANDBOX_MEMORY_MAX"] = (*settings["SANDBOX_MEMORY_MAX"][:2], macros["MEMORY_MAX_LEAST"], settings["SANDBOX_MEMORY_MAX"][3])
    launcher = "".join(path.read_text() for path in (REPOSITORY / "launcher").rglob("*.[ch]") if path.name != "setting_names.c")
    launcher += (REPOSITORY / "common/user.h").read_text()
    return settings, set(re.findall(f'"({NAME})"', table + launcher))


def value(kind, text):
    number, unit = re.fullmatch("([0-9]+)([a-z]*)", text).groups()
    return int(number) * UNITS[kind][unit]


def defaults_in(text):
    """{name: the first word in the parentheses that follow}; `SANDBOX_A_B, _C (0: none)` names two."""
    found, waiting = {}, []
    for name, rest, default in re.findall(rf"({NAME})|(?<=, )(_[A-Z]+)|\(([^):\s]*)[^)]*\)", text):
        if rest:
            waiting.append(waiting[0].rpartition("_")[0] + rest)
        elif name:
            waiting.append(name)
        else:
            found.update(dict.fromkeys(waiting, default))
            waiting = []
    return found


def in_help():
    usage = subprocess.run([BIN / "nginx-sandbox", "--help"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return defaults_in(usage)


def test_help_has_a_line_for_each():
    """In groups with a title, and whatever is asked for, it fits a terminal."""
    usage, short = (subprocess.run([BIN / "nginx-sandbox", option], stdout=subprocess.PIPE, text=True, check=True).stdout for option in ("--help", "-h"))
    assert usage == short
    lines = usage[usage.index("\nSettings"):].splitlines()
    named = [re.findall(rf"^  ({NAME}) \(.*\) +\S", line) for line in lines]
    assert [name for names in named for name in names] == re.findall(rf"\b(?:{NAME})\b", "\n".join(lines))
    assert len([line for line in lines if line.endswith(":") and not line.startswith(" ")]) >= 5
    assert max(map(len, usage.splitlines())) <= 100


def test_the_version():
    version = re.search(r"\((.*)\)", (REPOSITORY / "debian/changelog").read_text())[1]
    said = subprocess.run([BIN / "nginx-sandbox", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert said == f"nginx-sandbox {version}\n"


def test_the_readme_has_a_name_for_the_secret_of_clients():
    """One shell may have both variables: the client's is no setting of the server."""
    text = (REPOSITORY / "README.md").read_text() + (REPOSITORY / "docs/examples.md").read_text()
    assert "Bearer $SANDBOX_TOKEN" in text and "Bearer $SANDBOX_SECRET" not in text
    assert "SANDBOX_TOKEN" not in in_sources()[1]


def rows(document, end):
    """(names, default, what it is) of each row of the settings table before the heading `end`."""
    text = (REPOSITORY / document).read_text()
    table = text[text.index("| variable | default |"):text.index(f"\n## {end}\n")]
    return re.findall(r"^\| (`.*?`) \| (.*?) ?\| (.*) \|$", table, re.M)


def documented_rows():
    return rows("docs/configuration.md", "Limits of memory, processes and CPU")


def defaults_of(found):
    return defaults_in("\n".join(f"{names} ({default})" for names, default, _ in found).replace("`", ""))


def test_names():
    table, names = in_sources()
    assert len(table) > 20 and table.keys() < names
    assert in_help().keys() == names
    assert defaults_of(documented_rows()).keys() == names


def test_defaults():
    table, _ = in_sources()
    for place, defaults in (("--help", in_help()), ("docs/configuration.md", defaults_of(documented_rows()))):
        for name, (kind, default, _, _) in table.items():
            assert value(kind, defaults[name]) == default, (place, name, defaults[name])
        assert defaults["SANDBOX_CGROUP"] == "auto" and defaults["LOG_LEVEL"] == "notice", place


def test_the_readme_has_eight_of_them():
    documented = defaults_of(documented_rows())
    in_readme = defaults_of(rows("README.md", "Security"))
    assert len(in_readme) == 8 and in_readme.items() <= documented.items()


def bounds(what):
    """Those that a text states: `16 to 65536`, `up to 20d`, `at least 1m`."""
    number = "([0-9]+[a-z]*)"
    return re.findall(f"{number} to {number}|up to {number}|at least {number}", what)


def test_bounds():
    table, _ = in_sources()
    count = 0
    for names, _, what in documented_rows():
        for from_, to, up_to, at_least in bounds(what):
            kind, _, least, most = table[names.strip("`")]
            assert [value(kind, text) for text in (from_, at_least) if text] in ([], [least]), (names, from_, at_least)
            assert [value(kind, text) for text in (to, up_to) if text] in ([], [most]), (names, to, up_to)
            count += 1
    assert count >= 12


def test_compose_passes_them_on():
    text = (REPOSITORY / "docker-compose.yml").read_text()
    passed = dict(re.findall(r"^      (\w+): (.+)$", text, re.M))
    assert passed.keys() == in_sources()[1] - NOT_IN_COMPOSE.keys()
    # Empty is unset, and the image's log is not in its run directory.
    ours = {"SANDBOX_SECRET_FILE": "/run/secrets/sandbox_secret", "SANDBOX_ACCESS_LOG": "${SANDBOX_ACCESS_LOG:-/dev/stdout}",
            "SANDBOX_HOME": "${SANDBOX_HOME:-/workspace}"}
    assert passed == {name: ours.get(name, f"${{{name}:-}}") for name in passed}


def test_the_manual_page_has_all():
    table, names = in_sources()
    page = (REPOSITORY / "docs/man/nginx-sandbox.conf.5").read_text()
    entries = re.findall(r"^\.It Ev ([^\n]+)", page, re.M)
    assert {name for entry in entries for name in re.findall(NAME, entry)} == names
    defaults = dict(re.findall(rf"^({NAME}) Pq ([0-9]+[a-z]*)", "\n".join(entries), re.M))
    assert {name: value(table[name][0], text) for name, text in defaults.items()} == {name: table[name][1] for name in defaults}
    assert len(defaults) > 15
    texts = dict(re.findall(rf"^\.It Ev ({NAME})\b[^\n]*\n(.*?)(?=^\.It|^\.El)", page, re.M | re.S))
    for name, _, what in documented_rows():
        assert bounds(what) == bounds(texts.get(name.strip("`"), "")), name
