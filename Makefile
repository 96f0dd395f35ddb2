# Everything here works from a clean checkout on a machine with git, make, gcc and a Python of 3.11
# or later with venv. All that is installed goes to .venv.

.DEFAULT_GOAL := help
.PHONY: help venv test demo check format build bench clean

STAMP := .venv/.kindling-stamp

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(STAMP) ## Make .venv with kindling and the tools its tests need

$(STAMP): pyproject.toml scripts/venv
	scripts/venv
	@touch $@

test: $(STAMP) ## Lint, format check, types, layers and all tests that this machine can run
	@checked=0; scripts/check || checked=1; scripts/test && exit $$checked

demo: $(STAMP) ## A first look: a page from a pod, changed and explained, on a cluster of its own
	scripts/demo

check: $(STAMP) ## Lint, format check, types and layers only
	scripts/check

format: $(STAMP) ## Format the code
	scripts/format

build: $(STAMP) ## Make the sdist and the wheel in dist/
	scripts/build

bench: $(STAMP) ## Measure kindling beside its peers and print one table
	bench/run

clean: ## Remove what the targets above made
	rm -rf .venv dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
