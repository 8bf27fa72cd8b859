package main

import (
	"context"
	"errors"
	"os"
	"sync"

	"golang.org/x/term"
)

// Keys of a raw terminal. Ctrl-C stops the guest; after the escape key it is the guest's, as is the escape key itself.
const (
	keyInterrupt = 0x03 // Ctrl-C
	keyEscape    = 0x01 // Ctrl-A
)

var errInterrupted = errors.New("Ctrl-C")

// console is standard input as the guest's keyboard: raw if it is a terminal, as it is if not.
type console struct {
	raw     bool
	escaped bool
	stop    context.CancelCauseFunc
	restore func()
}

// openConsole prepares standard input. stop is called at Ctrl-C.
func openConsole(stop context.CancelCauseFunc) (*console, error) {
	c := &console{stop: stop, restore: func() {}}
	fd := int(os.Stdin.Fd())
	if !term.IsTerminal(fd) {
		return c, nil
	}
	old, err := term.MakeRaw(fd)
	if err != nil {
		return nil, err
	}
	c.raw = true
	c.restore = sync.OnceFunc(func() { term.Restore(fd, old) })
	return c, nil
}

// Read reads what is typed, less doorbell's own keys.
func (c *console) Read(p []byte) (int, error) {
	for {
		n, err := os.Stdin.Read(p)
		if !c.raw {
			return n, err
		}
		kept := c.filter(p[:n])
		if len(kept) > 0 || err != nil {
			return len(kept), err
		}
	}
}

// filter takes doorbell's keys out of p, in place.
func (c *console) filter(p []byte) []byte {
	kept := p[:0]
	for _, b := range p {
		switch {
		case c.escaped:
			c.escaped = false
			kept = append(kept, b)
		case b == keyEscape:
			c.escaped = true
		case b == keyInterrupt:
			c.stop(errInterrupted)
		default:
			kept = append(kept, b)
		}
	}
	return kept
}
