# make demo    boot Debian's Linux and see its interrupts and exits
# make test    what has to pass, on any machine
# make test-posted   more of posted interrupts, which need Intel's hardware: by emulation, slowly
# make bench   doorbell beside QEMU and gokvm, in one run
#
# Each installs what is missing: as root by itself, otherwise it says which packages.

export CGO_ENABLED := 0
GO   ?= go
BIN  := bin
HERE := $(CURDIR)

# Packages with tests that need KVM (build tag lab); they run inside the emulated host.
LAB_TESTS := ./internal/kvm ./irqchip ./vcpu ./virtio/tap ./tests ./tests/posted
# Those with the most traffic have a host each: one that dies takes less with it.
LAB_ALONE := TestCopyHeap|TestFeatures|TestNetwork
# The network card's tests boot a second kernel, of this suite of Debian.
LAB_KERNEL := debian:trixie
# One test boots two kernels with our own module.
LAB_THREADED := --kernel debian:irqprobe --kernel debian:rt+irqprobe
# A host that dies under its tests is the emulation's fault, not theirs: they start again.
LAB        = $(HERE)/$(BIN)/doorbell lab --retry 3 $(1) --kernel $(LAB_KERNEL) $(foreach b,$(BARE),--file $(HERE)/$b:/usr/share/doorbell/bare/$(notdir $b)) --
# Passed-through devices need a host that has some, behind an IOMMU with interrupt remapping and without.
LAB_VFIO   := --device virtio-net --device nvme --device e1000e --device edu
LAB_UNSAFE := --device virtio-net,intremap=off
# So does posting; 135 MB of downloads once.
LAB_INTEL  := $(HERE)/$(BIN)/doorbell lab --retry 3 --host bochs --guest=false --

.PHONY: all
all: $(BIN)/doorbell $(BIN)/agent

# The Go tool knows best what has changed.
.PHONY: $(BIN)/doorbell $(BIN)/agent
$(BIN)/doorbell:
	@$(GO) build -trimpath -o $@ ./cmd/doorbell
$(BIN)/agent:
	@$(GO) build -trimpath -ldflags='-s -w' -o $@ ./cmd/agent

# Bare guests, for tests and benchmarks of what Linux does not do.
BARE := $(patsubst tests/bare/%.c,$(BIN)/bare/%.flat,$(filter-out tests/bare/bare.c,$(wildcard tests/bare/*.c)))
.PHONY: bare
bare: $(BARE)
$(BIN)/bare/%.flat: tests/bare/%.c tests/bare/bare.c tests/bare/bare.h tests/bare/start.S tests/bare/bare.ld
	@mkdir -p $(@D)
	@gcc -m32 -O2 -Wall -Wextra -Werror -ffreestanding -nostdlib -static -fno-pic -no-pie -fno-stack-protector -mgeneral-regs-only \
		-Wl,-T,tests/bare/bare.ld,--build-id=none,-z,noexecstack,--no-warn-rwx-segments -o $@ tests/bare/start.S tests/bare/bare.c $<

.PHONY: demo
demo: need-demo all
	$(BIN)/doorbell boot -c 2 -m 512M

.PHONY: test
test: need-test need-page all check unit lab-tests test-page
	@echo "all tests passed"

.PHONY: check
check:
	@echo "check: format, vet, staticcheck, generated files, unsafe"
	@bad=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$bad" ] || { echo "not formatted:" $$bad; exit 1; }
	@$(GO) mod verify >/dev/null
	@$(GO) vet ./...
	@$(GO) vet -tags lab ./...
	@$(GO) vet -tags bochs ./internal/lab
	@$(GO) vet -tags browser ./tests/page
	@$(GO) tool staticcheck -tags lab ./...
	@$(GO) run ./internal/kvm/gen -dir internal/kvm -check
	@.ci/unsafe

.PHONY: unit
unit:
	CGO_ENABLED=1 $(GO) test -race -short ./...

.PHONY: lab-tests
lab-tests: all bare
	@$(BIN)/doorbell lab -- doorbell probe >/dev/null
	@k=$$(ls -d "$${XDG_CACHE_HOME:-$$HOME/.cache}"/doorbell/kernels/*/ | tail -1); \
	DOORBELL_LAB_KERNEL=$$k/vmlinux DOORBELL_LAB_MODULES=$$k/modules $(GO) test -count=1 -p 1 -timeout 15m ./internal/lab/...
	$(GO) test -count=1 -p 1 -timeout 40m -tags lab -exec '$(call LAB,)' -skip '^($(LAB_ALONE)|TestMeasureThreaded|TestVFIO.*)$$' $(LAB_TESTS)
	for t in $(subst |, ,$(LAB_ALONE)); do $(GO) test -count=1 -timeout 30m -tags lab -exec '$(call LAB,)' -run "^$$t$$" ./tests || exit 1; done
	$(GO) test -count=1 -timeout 30m -tags lab -exec '$(call LAB,$(LAB_THREADED))' -run '^TestMeasureThreaded$$' ./tests
	$(GO) test -count=1 -timeout 30m -tags lab -exec '$(call LAB,$(LAB_VFIO))' -run '^TestVFIO' -skip Unsafe ./tests
	$(GO) test -count=1 -timeout 10m -tags lab -exec '$(call LAB,$(LAB_UNSAFE))' -run '^TestVFIOUnsafe$$' ./tests
	DOORBELL_WANT_POSTING=1 $(GO) test -short -count=1 -timeout 15m -tags lab -exec '$(LAB_INTEL)' ./tests/posted

# The page of the short experiments in a browser; "make test-page PAGE=NAMES" takes others.
PAGE ?=
.PHONY: test-page
test-page: need-page all
	$(BIN)/doorbell measure $(PAGE) -c 2 --report html=$(BIN)/report.html,json=$(BIN)/report.json
	DOORBELL_PAGE=$(HERE)/$(BIN)/report.html DOORBELL_PAGE_JSON=$(HERE)/$(BIN)/report.json $(GO) test -count=1 -timeout 5m -tags browser ./tests/page

# What "make test" leaves out of posted interrupts, on the lab's emulated Intel host: all rounds, and that host itself. Some minutes.
.PHONY: test-posted
test-posted: need-test all
	$(GO) test -count=1 -timeout 30m -tags bochs -run '^TestBochs' ./internal/lab
	DOORBELL_WANT_POSTING=1 $(GO) test -count=1 -timeout 30m -tags lab -exec '$(LAB_INTEL)' -v ./tests/posted

# On a machine whose KVM runs Linux: the same tests without the lab.
.PHONY: test-here
test-here: all bare
	DOORBELL_BARE="$(HERE)/$(BIN)/bare" PATH="$(HERE)/$(BIN):$$PATH" $(GO) test -count=1 -p 1 -tags lab -skip '^TestVFIO' $(LAB_TESTS)

.PHONY: bench
bench: need-test all bare
	@$(GO) build -o $(BIN)/gokvm github.com/bobuhiro11/gokvm
	@$(GO) build -trimpath -o $(BIN)/compare ./tests/compare
	@$(GO) test -run xxx -bench . -benchmem ./internal/ledger ./vmm ./irqchip/... ./virtio/netdev 2>/dev/null | grep -E '^(Benchmark|pkg)' || true
	$(BIN)/compare -doorbell $(BIN)/doorbell -gokvm $(BIN)/gokvm

.PHONY: need-go need-demo need-test need-page
need-page: need-go
	@.ci/need qemu-system-x86_64:qemu-system-x86 chromium:chromium
need-demo: need-go
	@.ci/need qemu-system-x86_64:qemu-system-x86
# Debian's own Go is too old: it cannot be installed from here.
need-go:
	@command -v $(GO) >/dev/null || { echo "doorbell needs Go 1.26.3 or newer in PATH: see https://go.dev/doc/install" >&2; exit 1; }
need-test: need-demo
	@.ci/need gcc:gcc /usr/include/linux/kvm.h:linux-libc-dev /usr/include/stdio.h:libc6-dev iasl:acpica-tools make:make /usr/lib/x86_64-linux-gnu/libelf.so.1:libelf1

.PHONY: fuzz
FUZZTIME ?= 30s
fuzz:
	@for p in $$($(GO) list ./...); do for f in $$($(GO) test -list '^Fuzz' $$p | grep ^Fuzz); do \
		echo "$$p $$f"; $(GO) test -run xxx -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x $$p || exit 1; done; done

.PHONY: clean
clean:
	rm -rf $(BIN)
