package vmm

import (
	"bytes"
	"sync"
	"time"
)

// panicMark is how Linux announces on its console that it gives up (kernel/panic.c). It is the only sign that needs nothing
// in the guest: a panic that ends in a reset looks like any other reset, and one that does not looks like an idle guest.
const panicMark = "Kernel panic - not syncing"

// maxPanicLine bounds what is kept of the line.
const maxPanicLine = 200

// panicGrace is how long after its last console output a guest that has panicked may still reset itself or print.
const panicGrace = 2 * time.Second

// panicWatch looks for a panic in the console's output. Its memory is one line.
type panicWatch struct {
	mu    sync.Mutex
	line  []byte // the line so far
	found string // the panic's line; empty while there is none
	timer *time.Timer
	fire  func(line string) // called once, panicGrace after the console has fallen silent
}

// observe takes what the guest has printed, in the order in which it did.
func (w *panicWatch) observe(p []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Reset(panicGrace)
		return
	}
	for _, b := range p {
		switch {
		case b == '\n':
			if at := bytes.Index(w.line, []byte(panicMark)); at >= 0 {
				w.found = string(bytes.TrimRight(w.line[at:], "\r"))
				w.timer = time.AfterFunc(panicGrace, func() { w.fire(w.found) })
				return
			}
			w.line = w.line[:0]
		case len(w.line) < maxPanicLine:
			w.line = append(w.line, b)
		}
	}
}

// panicked is the panic's line, if there was one.
func (w *panicWatch) panicked() (string, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.found, w.found != ""
}

// stop forgets the timer.
func (w *panicWatch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
}
