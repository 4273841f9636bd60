# Two commands matter: `make demo` and `make test`. Each does its own set-up.
.PHONY: demo test setup lock
FULL ?=

demo: setup
	.venv/bin/stainloom demo --out demo $(if $(FULL),--full)

test: setup
	.venv/bin/python .ci/test.py

setup:
	@bash .ci/setup

lock:
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --extra gui --group dev pyproject.toml -o requirements.lock
