//go:build lab

package tests

import (
	"bytes"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// TestPipes: what is piped in reaches the guest, what it prints comes out, and the end of input ends nothing.
func TestPipes(t *testing.T) {
	guestTest(t, func(t testing.TB) {
		o, _ := boot(t, "hello\nquit\n", "-i", guestInitramfs(t), "-p", "console=ttyS0 quiet panic=-1 test.role=echo")
		o.want(t, 0, o.stdout, `guest: got "hello", 5 bytes`, "guest: done")
	})
}

// TestClosedOutput: a reader that goes away takes neither the guest nor the report with it.
func TestClosedOutput(t *testing.T) { guestTest(t, closedOutput) }

func closedOutput(t testing.TB) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := command(t, "boot", "--host", "here")
	var e bytes.Buffer
	c.Stdout, c.Stderr = w, &e
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	io.ReadFull(r, make([]byte, 1))
	r.Close()
	err = c.Wait()
	outcome{"", e.String(), c.ProcessState.ExitCode()}.watch(t)
	if err != nil {
		t.Errorf("%v\n%s", err, &e)
	}
	if !strings.Contains(e.String(), "powered off") || !strings.Contains(e.String(), "What its VM exits were") {
		t.Errorf("stderr:\n%s", &e)
	}
}

// TestTerminal: on a terminal keys reach the guest one by one, Ctrl-C stops it with the report, and the terminal is itself again.
func TestTerminal(t *testing.T) { guestTest(t, onTerminal) }

func onTerminal(t testing.TB) {
	c := command(t, "boot", "--host", "here", "-i", guestInitramfs(t), "-p", "console=ttyS0 quiet panic=-1 test.role=echo")
	var e bytes.Buffer
	c.Stderr = &e
	tty, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	defer slave.Close()
	c.Stdin, c.Stdout = slave, slave
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	screen := make(chan byte, 1<<16)
	go func() {
		b := make([]byte, 256)
		for {
			n, err := tty.Read(b)
			for _, x := range b[:n] {
				screen <- x
			}
			if err != nil {
				close(screen)
				return
			}
		}
	}()
	gone := func() {
		c.Cancel()
		c.Wait()
		outcome{"", e.String(), c.ProcessState.ExitCode()}.watch(t)
	}
	waitFor := func(text string) {
		t.Helper()
		var seen []byte
		late := time.After(timeout)
		for !bytes.Contains(seen, []byte(text)) {
			select {
			case x, ok := <-screen:
				if !ok {
					gone()
					t.Fatalf("the terminal closed before %q; seen:\n%s", text, seen)
				}
				seen = append(seen, x)
			case <-late:
				gone()
				t.Fatalf("no %q; seen:\n%s", text, seen)
			}
		}
	}
	waitFor("type a line")
	for _, k := range "abc\r" {
		if _, err := tty.Write([]byte{byte(k)}); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(`got "abc"`)
	if _, err := tty.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	c.Wait()
	if s := c.ProcessState.ExitCode(); s != 3 {
		t.Errorf("status %d after Ctrl-C, want 3", s)
	}
	if !strings.Contains(e.String(), "stopped by Ctrl-C") || !strings.Contains(e.String(), "What its VM exits were") {
		t.Errorf("stderr:\n%s", &e)
	}
}

// TestSignals: SIGTERM and SIGINT stop a guest that does nothing, and the report is still printed; SIGQUIT shows where doorbell stands.
func TestSignals(t *testing.T) { guestTest(t, signals) }

func signals(t testing.TB) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		o := signalled(t, sig)
		o.want(t, 3, o.stderr, "stopped by "+sig.String(), "What its VM exits were")
	}
	if o := signalled(t, syscall.SIGQUIT); !o.guestStopped() {
		o.want(t, 2, o.stderr)
		t.Errorf("not recognized as a guest that has stopped:\n%s", o.stderr)
	}
}

// signalled sends a signal to doorbell when its guest has nothing more to do.
func signalled(t testing.TB, sig syscall.Signal) outcome {
	t.Helper()
	c := command(t, "boot", "--host", "here", "-p", "console=ttyS0 quiet panic=-1 doorbell.end=halt")
	var e bytes.Buffer
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = &e
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	seen := make([]byte, 0, 4096)
	for b := make([]byte, 256); !bytes.Contains(seen, []byte("online")); {
		n, err := out.Read(b)
		seen = append(seen, b[:n]...)
		if err != nil {
			c.Wait()
			outcome{string(seen), e.String(), c.ProcessState.ExitCode()}.watch(t)
			t.Fatalf("%v after:\n%s", err, seen)
		}
	}
	time.Sleep(time.Second) // the rest of the line, and of the agent's work
	if err := c.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	c.Wait()
	return outcome{string(seen), e.String(), c.ProcessState.ExitCode()}
}
