# make demo         segment the shipped shot with REM-mini: mattes and an overlay in demo/, and their J
# make test         run the tests, those of the nodes in the newest ComfyUI found
# make test-fast    only those that take no ComfyUI and a moment each
# make test-all     all of them, in every ComfyUI found, and files damaged in twenty times as many ways
# make lint         ruff, and mypy: whether the classes are what the functions they are given to expect
# make mini-decoder distil REM-mini's mask decoder anew, for a VAE that has changed; CLIPS as in make mini
# make mini-pages   after new weights of REM-mini: score them, and make its card, its page and all its pictures anew
# make docs         bring the nodes' help pages and REM-mini's card up to date, and draw docs/how-it-works.md's pictures
#
# All set up a virtual environment in .venv first. With PYTHON=/path/to/python they use that interpreter instead, its
# torch untouched, and add to it only what is missing.

ifdef PYTHON
  RUN := $(PYTHON)
  READY := .venv/used-$(subst /,_,$(PYTHON))
else
  RUN := .venv/bin/python
  READY := .venv/ready
endif
TORCH ?= torch
CPU_TORCH := https://download.pytorch.org/whl/cpu
SHOT := assets/sample_shot.mp4
CLIPS ?=
START ?=
comma := ,
# Two files at a time, each on one thread: several pools of threads on the same cores wait for one another.
PYTEST = OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-fast test-all lint docs mini mini-decoder mini-pages clean

demo: $(READY)
	$(RUN) -m rem_engine segment $(SHOT) --decoder mask -p "the smoke" -p "the steam" -p "the red star" \
		-p "the cyan star" -p "the orange circle" -o demo
	@echo "J of the masks against the exact mattes:"
	@$(RUN) -m trainer score --run demo
	@echo "mattes: demo/<prompt>/masks and demo/<prompt>/soft; overlay: demo/overlay.mp4"

test: $(READY)
	$(PYTEST)

test-fast: $(READY)
	$(PYTEST) -m "not slow and not host"

test-all: $(READY)
	$(PYTEST) --all-hosts --mutations 60

lint: $(READY)
	$(RUN) -m pip install --quiet -e ".[lint]"
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	mkdir -p build/types/refereverything
	ln -sfn "$(CURDIR)/nodes" "$(CURDIR)/rem_engine" build/types/refereverything
	MYPYPATH=build/types $(RUN) -m mypy -p refereverything.nodes

docs: $(READY)
	$(RUN) -m docs.make_node_help
	$(RUN) -m docs.make_mini_card
	$(RUN) -m docs.images.diagrams

# A day at most on two CPU cores; run it again to go on after a stop. CLIPS=folder adds real footage as backgrounds.
# START=folder begins with the REM-mini there in place of nothing.
mini: $(READY)
	$(RUN) -m trainer mini --work build/mini --out rem_engine/mini $(if $(CLIPS),--clips $(CLIPS)) $(if $(START),--start $(START))

# From shots of REM-mini's own size; under an hour on one CPU core, and run again it goes on after a stop.
MINI_SIZE = $(shell $(RUN) -c "import json; print('{}x{}'.format(*json.load(open('rem_engine/mini/rem.json'))['size']))")
mini-decoder: $(READY)
	test -d build/decoder/shots || $(RUN) -m trainer synth --out build/decoder/shots --count 400 --seed 9001 \
		--world rich --size $(MINI_SIZE) $(if $(CLIPS),--clips $(CLIPS))
	$(RUN) -m trainer distill-decoder mini --model mini --work build/decoder/work \
		--out rem_engine/mini/mask_decoder.safetensors --set size=[$(subst x,$(comma),$(MINI_SIZE))] \
		streams.0.sources.0.root=$(CURDIR)/build/decoder/shots

mini-pages: $(READY)
	$(RUN) -m trainer sample --out $(SHOT)
	$(RUN) -m benchmarks.mini --write
	$(RUN) -m benchmarks.pictures

clean:
	rm -rf .venv build demo

# Without an NVIDIA driver the CPU build of torch comes first, from its own index alone, since another index may offer a
# newer build of several gigabytes; where that index cannot be reached, whatever pip finds serves.
.venv/ready: requirements.txt pyproject.toml
	python3 -m venv .venv
	@command -v nvidia-smi >/dev/null || .venv/bin/python -c "import torch" 2>/dev/null || \
		PIP_CONFIG_FILE=/dev/null .venv/bin/python -m pip install --retries 1 --no-deps --index-url $(CPU_TORCH) $(TORCH) || \
		echo "no CPU build of torch within reach; taking the default one"
	.venv/bin/python -m pip install $(TORCH) -e ".[trainer,test]"
	touch $@

.venv/used-%: requirements.txt pyproject.toml
	mkdir -p .venv
	$(PYTHON) -m pip install -e ".[trainer,test]"
	touch $@
