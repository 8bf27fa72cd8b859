//go:build lab

package tests

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"doorbell/internal/netconf/netserve"
	"doorbell/internal/report"
	"doorbell/internal/traffic"
	"doorbell/internal/traffic/wire"
)

// session is a guest that runs under doorbell and does the tasks of a controller in this process.
type session struct {
	testing.TB
	link
	*traffic.Guest
	ctx        context.Context // ends with doorbell
	controller *traffic.Controller

	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  chan string // of the console
	stdout strings.Builder
	stderr bytes.Buffer
	report string
	done   chan struct{} // closed when doorbell has ended
}

// startSession boots a guest on a link and waits until it has found the controller. workload is what the agent does: traffic=PEER, or a
// program that serves the controller, PEER being its address; args go to doorbell.
func startSession(t testing.TB, l link, workload string, args ...string) *session {
	t.Helper()
	c, err := traffic.Listen(net.JoinHostPort(l.listen, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s := &session{TB: t, link: l, controller: c, lines: make(chan string, 1000), report: filepath.Join(t.TempDir(), "r.json"), done: make(chan struct{})}
	peer := fmt.Sprintf("%s:%d", netserve.HostName, c.Addr().Port())
	s.cmd = command(t, append([]string{"boot", "--host", "here", "--report", "json=" + s.report, "--net", l.net,
		"-p", quiet + "loglevel=5 doorbell.workload=" + strings.ReplaceAll(workload, "PEER", peer)}, args...)...)
	s.cmd.Stderr, s.cmd.SysProcAttr = &s.stderr, l.as
	openTo(t, filepath.Dir(s.report))
	openTo(t, s.cmd.Dir)
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	s.ctx = ctx
	go func() {
		defer close(s.done)
		defer close(s.lines)
		for r := bufio.NewScanner(stdout); r.Scan(); {
			fmt.Fprintln(&s.stdout, r.Text())
			select {
			case s.lines <- strings.TrimRight(r.Text(), "\r"):
			default: // nobody reads them
			}
		}
		s.cmd.Wait()
		cancel(errors.New("doorbell ended"))
	}()
	t.Cleanup(func() {
		s.cmd.Process.Kill()
		<-s.done
	})
	if s.Guest, err = c.Accept(s.ctx); err != nil {
		s.fatal(err)
	}
	return s
}

// trafficWorkload is that of a guest that needs nothing of its own.
const trafficWorkload = "traffic=PEER"

// endPatience is how long doorbell may take to end, with its report, after its guest has.
const endPatience = 10 * time.Second

// fatal ends the test with all that doorbell said.
func (s *session) fatal(err error) {
	s.Helper()
	// A guest that dies loses its connections before anybody hears of its end; one that has stopped must be ended.
	select {
	case <-s.done:
	case <-time.After(endPatience):
		s.cmd.Cancel()
		select {
		case <-s.done:
		case <-time.After(dumpPatience):
			s.cmd.Process.Kill()
		}
	}
	s.ended().watch(s.TB)
	s.Fatalf("%v\nstdout:\n%s\nstderr:\n%s", err, &s.stdout, &s.stderr)
}

// need is for what the guest answers: without it the test ends.
func need[T any](s *session) func(T, error) T {
	s.Helper()
	return func(v T, err error) T {
		s.Helper()
		if err != nil {
			s.fatal(err)
		}
		return v
	}
}

func (s *session) snapshot() wire.Snapshot {
	s.Helper()
	return need[wire.Snapshot](s)(s.Snapshot(s.ctx))
}

func (s *session) configure(c wire.Configure) wire.Snapshot {
	s.Helper()
	return need[wire.Snapshot](s)(s.Configure(s.ctx, c))
}

// waitLine waits until the guest prints a line.
func (s *session) waitLine(want string) {
	s.Helper()
	for line := range s.lines {
		if line == want {
			return
		}
	}
	s.fatal(fmt.Errorf("the guest did not print %q", want))
}

// end has the guest power off, and returns what a user sees of the run.
func (s *session) end() (outcome, *report.Document) {
	s.Helper()
	if err := s.End(s.ctx); err != nil {
		s.fatal(err)
	}
	return s.wait()
}

// ended waits for the guest's end and returns what a user sees of it.
func (s *session) ended() outcome {
	<-s.done
	return outcome{s.stdout.String(), s.stderr.String(), s.cmd.ProcessState.ExitCode()}
}

// wait waits for the guest's end, which must be a good one.
func (s *session) wait() (outcome, *report.Document) {
	s.Helper()
	o := s.ended()
	o.watch(s.TB)
	o.want(s.TB, 0, o.stdout)
	b, err := os.ReadFile(s.report)
	d := new(report.Document)
	if err == nil {
		err = json.Unmarshal(b, d)
	}
	if err != nil {
		s.fatal(err)
	}
	return o, d
}

// queue is a queue's counts in a snapshot: the driver's packets and bytes, and its vector's interrupts.
type queue struct{ packets, bytes, interrupts uint64 }

// queueOf reads the counts of a queue, as rx0, from a snapshot or a difference of two.
func queueOf(s *wire.Snapshot, name string) queue {
	kind, number := name[:2], name[2:]
	q := queue{packets: s.Counter(kind + "_queue_" + number + "_packets"), bytes: s.Counter(kind + "_queue_" + number + "_bytes")}
	suffix := map[string]string{"rx": "-input.", "tx": "-output."}[kind] + number
	for _, r := range s.Interrupts.Rows {
		if strings.HasSuffix(r.Name, suffix) {
			q.interrupts = r.Total
		}
	}
	return q
}
