# doorbell: `make demo` shows it, `make test` tests it; both install what is missing.

export CGO_ENABLED := 0
GO      ?= go
BIN     := bin

.PHONY: all
all: $(BIN)/doorbell $(BIN)/agent

.PHONY: $(BIN)/doorbell $(BIN)/agent
$(BIN)/doorbell:
	$(GO) build -trimpath -o $@ ./cmd/doorbell
$(BIN)/agent:
	$(GO) build -trimpath -ldflags='-s -w' -o $@ ./cmd/agent
