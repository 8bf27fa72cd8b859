package testdev

import (
	"fmt"
	"sync"
)

// Where test kernels look for ports and memory that read back what was written.
const (
	EchoPort   = 0xe0
	EchoSize   = 8
	ScratchGPA = 0xff000000
	ScratchLen = 0x10000
)

// Echo is bytes that read back what was written, in any width.
type Echo struct {
	mu sync.Mutex
	b  []byte
}

// NewEcho returns n bytes of zeros.
func NewEcho(n int) *Echo { return &Echo{b: make([]byte, n)} }

// Read returns the bytes; beyond the last there is nothing.
func (e *Echo) Read(off uint64, p []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range p {
		p[i] = 0xff
	}
	if off < uint64(len(e.b)) {
		copy(p, e.b[off:])
	}
}

// Write stores them.
func (e *Echo) Write(off uint64, p []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if off < uint64(len(e.b)) {
		copy(e.b[off:], p)
	}
}

// RegisterName names the registers for reports.
func (e *Echo) RegisterName(off uint64, _ bool) string { return fmt.Sprintf("echo %#x", off) }
