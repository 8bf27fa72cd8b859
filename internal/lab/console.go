package lab

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"sync"
)

// console keeps the end of what L1's kernel and QEMU itself have said. Its
// methods may be called by several goroutines.
type console struct {
	mu   sync.Mutex
	text tail      // the serial console
	qemu tail      // QEMU's stderr
	live io.Writer // gets both; nil: nobody
}

func newConsole(live io.Writer) *console { return &console{live: live} }

// Write takes the serial console's bytes. What the live copy does with them is
// not QEMU's problem: an error there must not stop the machine.
func (c *console) Write(b []byte) (int, error) {
	c.add(&c.text, b)
	return len(b), nil
}

// errors returns the writer for QEMU's stderr.
func (c *console) errors() io.Writer { return consoleErrors{c} }

type consoleErrors struct{ c *console }

func (e consoleErrors) Write(b []byte) (int, error) {
	e.c.add(&e.c.qemu, b)
	return len(b), nil
}

func (c *console) add(t *tail, b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.add(b)
	if c.live != nil {
		_, _ = c.live.Write(b)
	}
}

// reason returns the line that tells best why L1 ended or hangs.
func (c *console) reason() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := lines(c.text.bytes())
	for i := len(text) - 1; i >= 0; i-- {
		if telling.MatchString(text[i]) {
			return text[i]
		}
	}
	// QEMU warns of every processor feature that it does not emulate.
	for _, line := range lines(c.qemu.bytes()) {
		if !strings.Contains(line, "warning:") {
			return line
		}
	}
	if len(text) > 0 {
		return text[len(text)-1]
	}
	return "its console is silent"
}

// panicked says whether the kernel has given up.
func (c *console) panicked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Contains(c.text.bytes(), []byte("---[ end Kernel panic - "))
}

// telling matches lines that name a cause: those of L1's init, of a kernel
// that gives up, and of an initramfs that does not fit into memory.
var telling = regexp.MustCompile(`^(lab: |Kernel panic - |Initramfs unpacking failed|BUG: |Out of memory)`)

// printkTime is what the kernel puts before its lines.
var printkTime = regexp.MustCompile(`^\[ *\d+\.\d+\] `)

// escapes are the control sequences of terminals (ECMA-48 5.4), which
// firmware likes to write.
var escapes = regexp.MustCompile("\x1b(\\[[0-?]*[ -/]*[@-~]|[ -Z\\\\^-~])")

// lines returns the lines in b that are not blank, fit to be shown.
func lines(b []byte) []string {
	const maxLine = 300
	var all []string
	for _, line := range strings.FieldsFunc(string(b), func(r rune) bool { return r == '\n' || r == '\r' }) {
		line = strings.TrimSpace(escapes.ReplaceAllString(line, ""))
		line = printkTime.ReplaceAllString(line, "")
		line = strings.TrimSpace(strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f || r == '\uFFFD' {
				return -1
			}
			return r
		}, line))
		if len(line) > maxLine {
			line = strings.ToValidUTF8(line[:maxLine], "") + "..."
		}
		if line != "" {
			all = append(all, line)
		}
	}
	return all
}

// tail keeps the last maxTail bytes, and at times up to twice as many.
type tail struct{ b []byte }

const maxTail = 64 << 10

func (t *tail) add(b []byte) {
	if len(b) > maxTail {
		b = b[len(b)-maxTail:]
	}
	if len(t.b)+len(b) > 2*maxTail {
		t.b = append(t.b[:0], t.b[len(t.b)-maxTail:]...)
	}
	t.b = append(t.b, b...)
}

func (t *tail) bytes() []byte { return t.b[max(0, len(t.b)-maxTail):] }
