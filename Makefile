# Two commands matter: `make demo` and `make test`. Each does its own set-up.
.PHONY: demo test shots readme-pictures setup lock
FULL ?=

# Where a machine lets Python keep no bytecode, every one of the many processes would compile all libraries anew.
ifdef PYTHONDONTWRITEBYTECODE
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX ?= $(CURDIR)/build/pycache
endif

demo: setup
	.venv/bin/stainloom demo --out demo $(if $(FULL),--full)

test: setup
	.venv/bin/python .ci/test.py

# Photographs of every dock and view into build/shots, with an index page.
shots: setup
	xvfb-run -a -s "-screen 0 1920x1080x24" .venv/bin/python benchmarks/shots.py build/shots

# The pictures of README's walk.
readme-pictures: setup
	xvfb-run -a -s "-screen 0 1920x1080x24" .venv/bin/python benchmarks/readme_pictures.py docs/images

setup:
	@bash .ci/setup

lock:
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --extra gui --group dev pyproject.toml -o requirements.lock
