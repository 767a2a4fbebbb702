"""Makes the real trees from the package registries, and of each the next commit.

`trees.py [--work DIR] [node|venv|target ...]` leaves `DIR/<tree>/v1/<payload>` and
`DIR/<tree>/v2/<payload>`. A tree that is there is left alone: `DIR/<tree>/DONE` holds the digest of the
recipe that made it, and another recipe makes it anew.

The second version is made as a CI job makes it: on top of the first (a restored cache), by the package
manager, after a few version numbers in the manifest went up. So what did not change keeps its mtime.
"""

import argparse
import hashlib
import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
DEFAULT_WORK = REPOSITORY / "target" / "bench-trees"

# A front-end monorepo of the larger sort: about 55,000 files, most of them under 4 KiB, a few native
# modules of many megabytes.
NODE_V1 = {
    "next": "15.1.6", "react": "19.0.0", "react-dom": "19.0.0", "vite": "6.0.11", "vitest": "3.0.4",
    "typescript": "5.7.3", "eslint": "9.19.0", "jest": "29.7.0", "webpack": "5.97.1",
    "storybook": "8.5.2", "@babel/core": "7.26.7", "@babel/preset-env": "7.26.7",
    "@mui/material": "6.4.2", "@mui/icons-material": "6.4.2", "@emotion/react": "11.14.0",
    "@emotion/styled": "11.14.0", "@angular/core": "19.1.4", "@angular/common": "19.1.4",
    "@nestjs/common": "10.4.15", "@nestjs/core": "10.4.15", "@aws-sdk/client-s3": "3.738.0",
    "date-fns": "4.1.0", "lodash": "4.17.21", "rxjs": "7.8.1", "reflect-metadata": "0.2.2",
}
NODE_BUMP = {"next": "15.1.7", "eslint": "9.20.0", "typescript": "5.8.2", "vite": "6.1.0"}
# Transitive dependencies resolve as on this day, so that every machine makes the same tree.
NODE_BEFORE = "2025-03-15"

VENV_V1 = {
    "numpy": "2.2.2", "scipy": "1.15.1", "pandas": "2.2.2", "pyarrow": "19.0.0",
    "matplotlib": "3.10.0", "scikit-learn": "1.6.1", "django": "5.1.5", "sympy": "1.13.3",
    "boto3": "1.36.10", "botocore": "1.36.10",
}
VENV_BUMP = {"pandas": "2.2.3", "boto3": "1.36.11", "botocore": "1.36.11"}

TARGET_CRATE = ("xh", "0.24.0")
TARGET_BUMP = ("anyhow", "regex", "serde_json", "memchr")


def run(*command, cwd, **environment):
    """Runs a tool with its output on stderr; a failure ends the program with the command's name."""
    shown = " ".join(str(part) for part in command)
    print(f"+ {shown}", file=sys.stderr, flush=True)
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env={**os.environ, **environment}, stdout=sys.stderr
    )
    if done.returncode != 0:
        sys.exit(f"trees: `{shown}` in {cwd} failed with status {done.returncode}")


def copy(source, target):
    """Hard links, modes and times included."""
    run("cp", "-a", source, target, cwd=source.parent)


def node(folder):
    """npm without the packages' own scripts: they would fetch from places of their own."""
    first, second = folder / "v1", folder / "v2"

    def install(at, dependencies):
        manifest = {"name": "bench", "private": True, "version": "1.0.0", "dependencies": dependencies}
        (at / "package.json").write_text(json.dumps(manifest, indent=2) + "\n")
        run("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--legacy-peer-deps",
            "--loglevel=error", f"--before={NODE_BEFORE}", cwd=at)

    first.mkdir()
    install(first, NODE_V1)
    copy(first, second)
    install(second, NODE_V1 | NODE_BUMP)


def venv(folder):
    """pip with wheels only; pip compiles the sources to bytecode, as it does in CI."""
    first, second = folder / "v1", folder / "v2"

    def install(at, packages):
        pinned = [f"{name}=={version}" for name, version in packages.items()]
        run("venv/bin/python", "-m", "pip", "install", "--quiet", "--only-binary=:all:", *pinned, cwd=at)

    first.mkdir()
    run(sys.executable, "-m", "venv", "venv", cwd=first)
    install(first, VENV_V1)
    copy(first, second)
    install(second, VENV_BUMP)


def target(folder):
    """Both versions are built in one place: cargo's hashes hold the path of the package."""
    build = folder / "build"
    source = crate_source(build)
    settings = {
        "CARGO_INCREMENTAL": "0", "CARGO_TARGET_DIR": str(build / "target"),
        "CARGO_BUILD_JOBS": os.environ.get("CARGO_BUILD_JOBS", "2"),
    }

    def snapshot(version):
        run("cargo", "build", "--quiet", cwd=source, **settings)
        run("cargo", "test", "--quiet", "--no-run", cwd=source, **settings)
        (folder / version).mkdir()
        copy(build / "target", folder / version / "target")

    downgrade(source)
    snapshot("v1")
    run("cargo", "update", "--quiet", *[f"--package={name}" for name in TARGET_BUMP], cwd=source)
    with (source / "src" / "utils.rs").open("a") as changed:
        changed.write("\n#[allow(dead_code)]\npub fn changed() -> u32 {\n    42\n}\n")
    snapshot("v2")
    shutil.rmtree(build)


def crate_source(build):
    """The unpacked sources of `TARGET_CRATE`, with the lock file they were published with.

    cargo downloads only what something depends on, so an empty package does.
    """
    name, version = TARGET_CRATE
    asker = build / "asker"
    (asker / "src").mkdir(parents=True)
    (asker / "src" / "lib.rs").write_text("")
    (asker / "Cargo.toml").write_text(
        "[workspace]\n[package]\nname = \"asker\"\nversion = \"0.0.0\"\nedition = \"2021\"\n"
        f"[dependencies]\n{name} = {{ version = \"={version}\", default-features = false }}\n"
    )
    run("cargo", "vendor", "--quiet", "--versioned-dirs", "vendor", cwd=asker)
    source = build / "source"
    shutil.move(asker / "vendor" / f"{name}-{version}", source)
    shutil.rmtree(asker)
    (source / ".cargo-checksum.json").unlink()
    with (source / "Cargo.toml").open("a") as manifest:
        manifest.write("\n[workspace]\n")
    return source


def downgrade(source):
    """Leaves the published lock file alone: it is older than the registry, so there is room to go up."""
    if not (source / "Cargo.lock").exists():
        sys.exit(f"trees: {TARGET_CRATE[0]} was published without a lock file")


TREES = {"node": (node, "node_modules"), "venv": (venv, "venv"), "target": (target, "target")}


def recipe(name):
    """What a tree is made from, as a digest: this module's source."""
    return hashlib.sha256(inspect.getsource(sys.modules[__name__]).encode()).hexdigest() + " " + name


def make(name, work):
    """The folder of the tree, made if it is not there."""
    folder = work / name
    done = folder / "DONE"
    if done.exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    TREES[name][0](folder)
    done.write_text(recipe(name) + "\n")
    return folder


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("trees", nargs="*", default=list(TREES), metavar="tree")
    parser.add_argument("--work", type=Path, default=DEFAULT_WORK)
    arguments = parser.parse_args()
    for name in arguments.trees:
        print(make(name, arguments.work.resolve()))


if __name__ == "__main__":
    main()
