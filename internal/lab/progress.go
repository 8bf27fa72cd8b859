package lab

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// progress tells how the start goes: on a terminal in one line that is
// written over, elsewhere in whole lines that are at least lineGap apart.
type progress struct {
	w        io.Writer // nil: silent
	terminal bool
	text     string
	start    time.Time
	now      func() time.Time

	mu    sync.Mutex // held while a line is written
	last  time.Time  // of the last line, zero before the first
	ended bool
	done  chan struct{}
}

const (
	lineGap = 2 * time.Second
	// patience is how long nothing is said where lines stay: most starts are
	// over by then, and one line says it all.
	patience = 4 * time.Second
	// repeat is how often waiting is mentioned where lines stay.
	repeat = 10 * time.Second
)

// newProgress starts to tell.
func newProgress(w io.Writer, text string, start time.Time) *progress {
	p := &progress{w: w, text: text, start: start, now: time.Now, done: make(chan struct{})}
	if w == nil {
		return p
	}
	if f, ok := w.(*os.File); ok {
		p.terminal = term.IsTerminal(int(f.Fd()))
	}
	go func() {
		ticker := time.NewTicker(lineGap / 4)
		defer ticker.Stop()
		for {
			p.tick()
			select {
			case <-ticker.C:
			case <-p.done:
				return
			}
		}
	}()
	return p
}

// tick says that the start is still under way, when it is time to.
func (p *progress) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	elapsed := p.now().Sub(p.start)
	switch {
	case p.terminal:
		p.say("\r%s... %.0f s", p.text, elapsed.Seconds())
	case p.last.IsZero() && elapsed >= patience:
		p.say("%s...\n", p.text)
	case !p.last.IsZero() && p.now().Sub(p.last) >= repeat:
		p.say("lab: still starting, %.0f s\n", elapsed.Seconds())
	}
}

func (p *progress) say(format string, args ...any) {
	p.last = p.now()
	// Progress that cannot be shown is no reason to stop.
	_, _ = fmt.Fprintf(p.w, format, args...)
}

// up says that L1 is up, and ends the telling.
func (p *progress) up() {
	p.end(func(elapsed time.Duration) {
		switch {
		case p.terminal:
			p.say("\r%s... up in %.1f s\n", p.text, elapsed.Seconds())
		case p.last.IsZero():
			p.say("%s... up in %.1f s\n", p.text, elapsed.Seconds())
		case p.now().Sub(p.last) >= lineGap:
			p.say("lab: up in %.1f s\n", elapsed.Seconds())
		}
	})
}

// again says why the host is started once more.
func (p *progress) again(why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w == nil {
		return
	}
	if p.terminal && !p.ended && !p.last.IsZero() {
		p.say("\n")
	}
	p.say("lab: the emulated host %s; starting it again\n", why)
}

// fail ends the telling; the error tells the rest.
func (p *progress) fail() {
	p.end(func(time.Duration) {
		if p.terminal && !p.last.IsZero() {
			p.say("\n")
		}
	})
}

func (p *progress) end(last func(elapsed time.Duration)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || p.w == nil {
		return
	}
	p.ended = true
	close(p.done)
	last(p.now().Sub(p.start))
}
