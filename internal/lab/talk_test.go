package lab

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestConsoleReason(t *testing.T) {
	for _, test := range []struct{ name, console, qemu, want string }{
		{"nothing", "", "", "its console is silent"},
		{"the last line", "one\r\ntwo\r\n\r\n \x1b[0m\r\n", "", "two"},
		{"firmware", "\x1bc\x1b[?7l\x1b[2J\x1b[0mBooting from ROM..", "", "Booting from ROM.."},
		{"a panic", "[    1.5] Kernel panic - not syncing: no init\r\n[    1.6] Rebooting\r\n", "", "Kernel panic - not syncing: no init"},
		{"init's own word", "[   12.512345] lab: load kernel module kvm: nonsense\n[   12.6] reboot: Power down\n", "", "lab: load kernel module kvm: nonsense"},
		{"QEMU's warnings are none", "boot\n", "qemu: warning: TCG doesn't support this\n", "boot"},
		{"QEMU's error", "boot\n", "qemu: warning: x\nqemu: could not load kernel\n", "qemu: could not load kernel"},
		{"a panic beside QEMU's error", "[    1.0] Kernel panic - x\n", "qemu: terminating\n", "Kernel panic - x"},
		{"control characters", "a\x00b\x07c\xff\n", "", "abc"},
		{"an endless line", strings.Repeat("x", 5000), "", strings.Repeat("x", 300) + "..."},
	} {
		c := newConsole(nil)
		_, _ = c.Write([]byte(test.console))
		_, _ = c.errors().Write([]byte(test.qemu))
		if got := c.reason(); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func FuzzConsole(f *testing.F) {
	f.Add([]byte("\x1b[2J[    0.000000] Linux\r\n"), []byte("qemu: warning:"))
	f.Fuzz(func(t *testing.T, console, qemu []byte) {
		c := newConsole(nil)
		_, _ = c.Write(console)
		_, _ = c.errors().Write(qemu)
		if reason := c.reason(); reason == "" || strings.ContainsAny(reason, "\r\n\x1b\x00") || len(reason) > 400 {
			t.Fatalf("reason %q", reason)
		}
	})
}

func TestConsoleIsBounded(t *testing.T) {
	var live bytes.Buffer
	c := newConsole(&live)
	line := []byte(strings.Repeat("x", 999) + "\n")
	for range 1000 {
		_, _ = c.Write(line)
	}
	_, _ = c.Write(bytes.Repeat(line, 500))
	_, _ = c.Write([]byte("the end\n"))
	if n := len(c.text.b); n > 2*maxTail {
		t.Errorf("keeps %d bytes", n)
	}
	if n := len(c.text.bytes()); n != maxTail {
		t.Errorf("shows %d bytes, want %d", n, maxTail)
	}
	if got := c.reason(); got != "the end" {
		t.Errorf("reason %q", got)
	}
	if live.Len() != 1500*1000+len("the end\n") {
		t.Errorf("the live copy has %d bytes", live.Len())
	}
}

func TestProgress(t *testing.T) {
	const text = "lab: starting"
	for _, test := range []struct {
		name     string
		terminal bool
		ticks    []float64 // seconds at which tick is called
		end      float64
		failed   bool
		want     string
	}{
		{"at once", false, []float64{0, 1, 2, 3}, 3.9, false, "lab: starting... up in 3.9 s\n"},
		{"soon after the first line", false, []float64{0, 4}, 5, false, "lab: starting...\n"},
		{"later", false, []float64{0, 4, 4.5, 6}, 6.1, false, "lab: starting...\nlab: up in 6.1 s\n"},
		{"much later", false, []float64{2, 4, 13, 14, 15, 24}, 30, false, "lab: starting...\nlab: still starting, 14 s\nlab: still starting, 24 s\nlab: up in 30.0 s\n"},
		{"failed", false, []float64{0, 4}, 5, true, "lab: starting...\n"},
		{"on a terminal", true, []float64{0, 1}, 1.9, false, "\rlab: starting... 0 s\rlab: starting... 1 s\rlab: starting... up in 1.9 s\n"},
		{"failed on a terminal", true, []float64{0}, 1, true, "\rlab: starting... 0 s\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			start := time.Now()
			now := start
			var out bytes.Buffer
			p := &progress{w: &out, terminal: test.terminal, text: text, start: start, now: func() time.Time { return now }, done: make(chan struct{})}
			for _, seconds := range test.ticks {
				now = start.Add(time.Duration(seconds * float64(time.Second)))
				p.tick()
			}
			now = start.Add(time.Duration(test.end * float64(time.Second)))
			if test.failed {
				p.fail()
			} else {
				p.up()
			}
			p.tick()
			p.fail()
			if out.String() != test.want {
				t.Errorf("said %q, want %q", out.String(), test.want)
			}
		})
	}
}

func TestParseVersion(t *testing.T) {
	for out, want := range map[string]string{
		"QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright (c) 2003-2022": "QEMU 7.2",
		"QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\n":                                   "QEMU 10.0",
	} {
		q, err := parseVersion(out)
		if err != nil || q.String() != want {
			t.Errorf("%q: %v, %v", out, q, err)
		}
	}
	if _, err := parseVersion("something else\nentirely"); err == nil || err.Error() != `does not say its version: "something else"` {
		t.Errorf("got %v", err)
	}
}

func TestFindQEMU(t *testing.T) {
	dir := t.TempDir()
	fake := filepath.Join(dir, "qemu")
	_, err := findQEMU(context.Background(), fake)
	if !errors.Is(err, ErrNoQEMU) || !strings.Contains(err.Error(), "apt-get install qemu-system-x86") {
		t.Errorf("a missing QEMU: %v", err)
	}
	writeFile(t, fake, "#!/bin/sh\necho QEMU emulator version 6.0.0\n")
	if err := os.Chmod(fake, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err = findQEMU(context.Background(), fake)
	if want := "lab: " + fake + ": is QEMU 6.0, at least version 7 is needed"; err == nil || err.Error() != want {
		t.Errorf("an old QEMU: %v", err)
	}
}
