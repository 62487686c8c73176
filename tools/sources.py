"""What the tools beside this file read of the C sources: the product's files, their code lines, their functions, and a program's objects."""

import bisect
import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[1]
PRODUCT = ("api", "common", "identity", "fcgi-app", "procd", "guard", "launcher", "screen", "terminal")
PROGRAMS = ("fcgi-app", "procd", "terminal", "guard", "render-screen", "nginx-sandbox")

# A comment, a string or a character.
TOKEN = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)
ATTRIBUTE = re.compile(r"__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\) *")
# clang-format begins a definition in the first column and its body on the line that ends the head.
FUNCTION = re.compile(r"^(?!#|typedef|extern)[A-Za-z_][\w\s*,]*?[\s*](\w+)\((?:[^;{}#()]|\([^()]*\))*\)[ \n]*\{$", re.M)


def product_files():
    """Every .c and .h file of the product, as paths relative to the repository."""
    return sorted(path.relative_to(ROOT) for room in PRODUCT for path in (ROOT / room).rglob("*.[ch]"))


def without_comments(text):
    """The same lines with comments blanked and strings emptied."""

    def blank(match):
        token = match[0]
        return token[0] * 2 if token[0] in "\"'" else re.sub(r"[^\n]", " ", token)

    return TOKEN.sub(blank, text)


def code_lines(text):
    """How many lines hold code: neither blank nor comment alone."""
    return sum(bool(line.strip()) for line in without_comments(text).splitlines())


def functions(path):
    """[(name, first line, last line)] of the functions that a file defines, statics too."""
    text = ATTRIBUTE.sub("", without_comments((ROOT / path).read_text()))
    starts = [0] + [match.end() for match in re.finditer("\n", text)]
    found = []
    for match in FUNCTION.finditer(text):
        end = text.find("\n}", match.end())
        found.append((match[1], bisect.bisect(starts, match.start()), bisect.bisect(starts, end + 1)))
    return found


def objects(program):
    """The sources of the objects that the Makefile links into a program, and the directory of the objects."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "MFLAGS"}
    answer = subprocess.run(["make", "--no-print-directory", "-s", f"objects-{program}"], cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [pathlib.Path(name).with_suffix(".c") for name in answer.split()]
