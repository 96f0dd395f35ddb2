"""A front-end behind a web server is built here: with which tool, and where its files are then."""

from __future__ import annotations

import json

import pytest

from kindling.sync.runtimes.frontend import (
    configured_by,
    document_root,
    frontend,
    option_of,
    output_folder,
    package_manager,
)

PACKAGE = json.dumps({"scripts": {"build": "vite build"}})


@pytest.mark.parametrize(
    ("locks", "manager"),
    [
        ([], "npm"),
        (["package-lock.json"], "npm"),
        (["yarn.lock"], "yarn"),
        (["yarn.lock", "package-lock.json"], "yarn"),
        (["pnpm-lock.yaml", "yarn.lock"], "pnpm"),
        (["bun.lockb"], "bun"),
    ],
)
def test_row_66_the_package_manager_goes_by_the_lock_file(locks: list[str], manager: str) -> None:
    assert package_manager(dict.fromkeys(locks, "")) == manager


def test_without_a_lock_file_the_package_names_its_manager() -> None:
    named = {"package.json": json.dumps({"packageManager": "pnpm@9.1.0+sha512.x"})}
    assert package_manager(named) == "pnpm"
    assert package_manager({**named, "yarn.lock": ""}) == "yarn"
    assert package_manager({"package.json": '{"packageManager": "rm -rf"}'}) == "npm"


@pytest.mark.parametrize(
    ("files", "folders", "output"),
    [
        ({"vite.config.ts": ""}, [], "dist"),
        ({"vite.config.js": "build: { outDir: './public_html/' }"}, [], "public_html"),
        ({"vite.config.js": "build: { outDir: '../../etc' }"}, [], "dist"),
        ({"vite.config.js": "build: { outDir: '/etc' }"}, [], "dist"),
        ({"next.config.mjs": ""}, [], "out"),
        ({"angular.json": "{}"}, [], "dist"),
        ({"angular.json": '{"outputPath": "dist/shop"}'}, [], "dist/shop"),
        ({"svelte.config.js": ""}, [], "build"),
        ({}, ["build"], "build"),
        ({}, ["build", "dist"], "dist"),
        ({}, [], "dist"),
    ],
)
def test_row_66_the_output_goes_by_the_framework(
    files: dict[str, str], folders: list[str], output: str
) -> None:
    assert output_folder(files, folders) == output


def test_row_66_a_front_end_has_a_script_that_builds_it() -> None:
    assert frontend({"package.json": '{"scripts": {"start": "x"}}'}) is None
    assert frontend({"package.json": '{"scripts": []}'}) is None
    assert frontend({"package.json": "[]"}) is None
    assert frontend({"package.json": "{"}) is None
    assert frontend({}) is None


def test_row_66_packages_are_installed_once() -> None:
    fresh = frontend({"package.json": PACKAGE, "yarn.lock": ""})
    again = frontend({"package.json": PACKAGE, "yarn.lock": ""}, ["node_modules"])
    assert fresh is not None
    assert again is not None
    assert fresh.commands == (("yarn", "install"), ("yarn", "run", "build"))
    assert again.commands == (("yarn", "run", "build"),)
    assert (fresh.output, fresh.instead) == ("dist", ("build", "out"))


@pytest.mark.parametrize(
    ("locks", "option"),
    [
        ([], ("--no-package-lock",)),
        (["package-lock.json"], ()),
        (["npm-shrinkwrap.json"], ()),
        (["../package-lock.json"], ()),
    ],
)
def test_a_project_without_a_lock_file_of_npm_gets_none(
    locks: list[str], option: tuple[str, ...]
) -> None:
    found = frontend({"package.json": PACKAGE, **dict.fromkeys(locks, "")})
    assert found is not None
    assert found.commands[0] == ("npm", "install", *option)


@pytest.mark.parametrize(
    ("argv", "options"),
    [
        (("nginx", "-g", "daemon off;"), ()),
        (("nginx", "-c", "/etc/a.conf", "-g", "daemon off;"), ("-c", "/etc/a.conf")),
        (("nginx: master process nginx -p /srv -c a.conf",), ("-p", "/srv", "-c", "a.conf")),
        (("nginx", "-c/etc/a.conf"), ("-c/etc/a.conf",)),
        (("nginx", "-c"), ()),
    ],
)
def test_row_66_a_web_server_is_asked_for_the_configuration_that_it_has_read(
    argv: tuple[str, ...], options: tuple[str, ...]
) -> None:
    assert configured_by(argv) == options


@pytest.mark.parametrize(
    ("server", "text", "root"),
    [
        ("nginx", "", "/usr/share/nginx/html"),
        ("nginx", "server {\n  root   /srv/www/;\n}\n", "/srv/www"),
        ("nginx", "# root /no;\nlocation / { root /yes; }\nroot /other;", "/yes"),
        ("nginx", 'root "/srv/a";', "/srv/a"),
        ("nginx", "chroot_root /x;", "/usr/share/nginx/html"),
        ("nginx", "root /;", "/"),
        ("caddy", "", "/usr/share/caddy"),
        ("caddy", ":80 {\n\troot * /srv\n\tfile_server\n}", "/srv"),
        ("caddy", ":80 {\n\troot /srv/site\n}", "/srv/site"),
        ("caddy", '{"handler": "file_server", "root": "/srv/json"}', "/srv/json"),
    ],
)
def test_row_66_where_a_web_server_takes_its_files_from(server: str, text: str, root: str) -> None:
    assert document_root(server, text) == root


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("caddy run --config /etc/a --adapter caddyfile", "/etc/a"),
        ("caddy run -c /etc/a", "/etc/a"),
        ("caddy run --config=/etc/a", "/etc/a"),
        ("caddy run --configs /etc/a", ""),
        ("caddy run --config", ""),
    ],
)
def test_an_option_is_read_in_each_of_its_ways(line: str, value: str) -> None:
    assert option_of(line.split(), "--config", "-c") == value
