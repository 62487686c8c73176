"""The documents: their links lead somewhere, their lines have an even width, and docs/api.md has every endpoint."""

import itertools
import re

import pytest

from sandbox import REPOSITORY, listed_endpoints

DOCUMENTS = sorted([REPOSITORY / "README.md", REPOSITORY / "deploy/README.md", REPOSITORY / "findings/README.md", *(REPOSITORY / "docs").glob("*.md")])


def without_code(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


def anchors(text):
    """Those of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", without_code(text), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links(document):
    text = document.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text)):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        assert path.exists(), (document.name, target)
        assert not anchor or anchor in anchors(path.read_text()), (document.name, target)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_the_width_of_lines(document):
    """Prose is wrapped at 140 columns, and no line in the middle of a paragraph is left short."""
    lines = [line for line in without_code(document.read_text()).splitlines() if not line.startswith(("|", "    ", "#", "!["))]
    for line, following in itertools.pairwise([*lines, ""]):
        assert len(line) <= 140, line
        begins_anew = not following.strip() or re.match(r"\s*([-*]|\d+\.) ", following)
        assert not line.strip() or begins_anew or len(line) >= 40, line


@pytest.mark.parametrize("endpoint", listed_endpoints(), ids=lambda endpoint: endpoint.path)
def test_every_endpoint_is_described(endpoint):
    """Under a heading of its own."""
    document = "docs/metrics.md" if endpoint.trait == "METRICS" else "docs/api.md"
    text = without_code((REPOSITORY / document).read_text())
    assert re.search(rf"^#+ .*{endpoint.path}\b" if document == "docs/api.md" else rf"`GET {endpoint.path}`", text, re.M)


def test_tests_that_documents_name_exist():
    """A document that names a test, or a file of one, is right."""
    text = "".join(document.read_text() for document in DOCUMENTS)
    sources = [path for path in (REPOSITORY / "tests").rglob("*") if path.suffix in (".py", ".c")]
    names = set(re.findall(r"^(?:def |static void )(\w+)\(", "\n".join(path.read_text() for path in sources), re.M))
    assert set(re.findall(r"`(test_\w+)`", text)) <= names
    for path in re.findall(r"`((?:tests|api|common|identity|fcgi-app|procd|terminal|screen|guard|launcher|nginx|bench|deploy|tools|systemd)/[\w./-]+)`", text):
        assert re.search("[A-Z]{3}", path) or (REPOSITORY / path).exists(), path


def test_words():
    """Those that readers had to translate: subject, verb, object instead."""
    for path in [*DOCUMENTS, *(REPOSITORY / "docs/man").iterdir()]:
        found = re.search(r"\b(tells|told|whoever|he|his)\b", path.read_text(), re.I)
        assert not found, (path.name, found[0])


def test_every_member_is_described():
    """docs/api.md has the name of every member and parameter that a row of an endpoint takes."""
    rows = "".join(path.read_text() for path in (REPOSITORY / "fcgi-app").rglob("*.[ch]"))
    members = set(re.findall(r'(?:\.name = |JSON_MEMBER\()"(\w+)"', rows))
    assert len(members) > 15
    assert members <= set(re.findall(r"\w+", (REPOSITORY / "docs/api.md").read_text()))


def test_error_codes():
    """The table of docs/api.md is the list of api/errors.h."""
    listed = re.findall(r'ERROR\((\w+), "(.*?)"\)', (REPOSITORY / "api/errors.h").read_text())
    text = (REPOSITORY / "docs/api.md").read_text()
    table = text[text.index("| `error_code` | when |"):]
    assert len(listed) > 20 and re.findall(r"^\| `(\w+)` \| (.*) \|$", table[:table.index("\n\n")], re.M)[1:] == listed


def test_every_folder_has_its_line():
    """In the list of docs/architecture.md, two levels deep."""
    text = (REPOSITORY / "docs/architecture.md").read_text()
    block = re.search(r"^## The rooms$.*?^```$(.*?)^```$", text, re.M | re.S)[1]
    listed, room = set(), ""
    for indent, name in re.findall(r"^( {0,2})([\w-]+)/ ", block, re.M):
        room = room if indent else name
        listed.add(f"{room}/{name}" if indent else name)
    rooms = [path for path in REPOSITORY.iterdir() if path.is_dir() and not path.name.startswith((".", "__")) and path.name not in ("build", "bin")]
    folders = {path.name for path in rooms} | {f"{path.parent.name}/{path.name}" for room in rooms if any(room.glob("*.c")) for path in room.iterdir()
                                               if path.is_dir() and any(path.glob("*.c"))}
    assert listed == folders - {"debian"}


def test_every_row_of_the_benchmarks_is_described():
    """In docs/benchmarks.md, by the name that `make bench ROWS=` takes."""
    rows = re.findall(r"\w+", re.search(r"^ROWS = \[(.*?)\]", (REPOSITORY / "bench/rows.py").read_text(), re.M | re.S)[1])
    named = re.findall(r"`(\w+)`", (REPOSITORY / "docs/benchmarks.md").read_text())
    assert len(rows) > 15 and set(rows) <= set(named)
