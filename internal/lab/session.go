package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/term"

	"doorbell/internal/lab/l1"
	"doorbell/internal/lab/wire"
)

// A session is the conversation with L1 during one run. receive runs in a
// goroutine of its own and handles what L1 sends in order; run waits for it
// and for everything that can cut it short.
type session struct {
	cfg      Config
	plan     *plan
	machine  *machine
	progress *progress
	start    time.Time

	conn  *wire.Conn
	home  *home
	stdin *stdinPump

	// What receive last did: frames counts what L1 sent, busy says that one is being handled, which waits for whoever reads the output.
	frames atomic.Uint64
	busy   atomic.Bool

	ready   chan struct{} // closed when L1 is up
	started chan struct{} // closed when the command runs
	ended   chan ending   // gets receive's outcome
	result  Result        // receive's until it has ended
	restore func()        // puts the terminal back, nil when it is not raw
	termMu  sync.Mutex    // guards restore
}

// ending is how receive ended: err is nil when L1 reported an exit status.
type ending struct {
	result Result
	err    error
}

func newSession(cfg Config, p *plan, m *machine, progress *progress, start time.Time) *session {
	conn := wire.NewConn(m.channel)
	return &session{
		cfg: cfg, plan: p, machine: m, progress: progress, start: start,
		conn:    conn,
		home:    &home{returns: p.returns},
		stdin:   newStdinPump(conn, cfg.Stdin),
		ready:   make(chan struct{}),
		started: make(chan struct{}),
		ended:   make(chan ending, 1),
	}
}

// run is the session from QEMU's start to its outcome. It returns with L1
// still there; the caller stops it.
//
// The error is a *notUpError when L1 was not up within the timeout.
func (s *session) run(ctx context.Context, signals <-chan os.Signal, upWithin time.Duration) (Result, error) {
	go func() {
		result, err := s.receive()
		s.ended <- ending{result, err}
	}()
	timeout := time.NewTimer(upWithin)
	defer timeout.Stop()
	ready, started, exited := s.ready, s.started, s.machine.exited
	silence := time.NewTicker(wire.AliveEvery)
	defer silence.Stop()
	var heard uint64
	quiet := 0
	stopped := Result{ExitStatus: 1}
	var first os.Signal
	for {
		select {
		case end := <-s.ended:
			return s.outcome(end)

		case <-exited:
			// What L1 sent before it went away is still in the socket: receive
			// ends with it.
			exited = nil

		case <-ready:
			ready = nil
			timeout.Stop()

		case <-started:
			started = nil
			stopped.StartSeconds = s.sinceStart()

		case <-timeout.C:
			return stopped, &notUpError{s.hostError(fmt.Sprintf("did not come up in %v", upWithin)), "hangs while it starts"}

		case <-silence.C:
			// Ticks, not time: while this process or the whole machine is stopped there are none.
			if n := s.frames.Load(); ready != nil || n != heard || s.busy.Load() {
				heard, quiet = n, 0
			} else if quiet++; time.Duration(quiet)*wire.AliveEvery >= s.cfg.MaxSilence {
				return stopped, s.hostError(fmt.Sprintf("hangs: it said nothing for %v", s.cfg.MaxSilence))
			}

		case <-ctx.Done():
			return stopped, fmt.Errorf("lab: stopped: %w", context.Cause(ctx))

		case sig := <-signals:
			number, ok := sig.(syscall.Signal)
			if !ok {
				continue
			}
			if number == syscall.SIGUSR2 && started != nil {
				continue
			}
			if started == nil && (first == nil || number == syscall.SIGUSR2) {
				if number != syscall.SIGUSR2 {
					first = sig
				}
				// An error means that L1 is gone, which receive will tell.
				_ = s.conn.SendWords(wire.Signal, uint32(number))
				continue
			}
			stopped.ExitStatus, stopped.Signal = 128+int(number), number
			if started != nil {
				return stopped, fmt.Errorf("lab: stopped by a signal (%v) before the command had started", sig)
			}
			return stopped, fmt.Errorf("lab: stopped by a second signal (%v): the command was killed and its files are lost", sig)
		}
	}
}

// notUpError is the error of a start that another one may do better, and what the host does there.
type notUpError struct {
	error
	does string
}

func (e *notUpError) Unwrap() error { return e.error }

func (s *session) sinceStart() float64 { return time.Since(s.start).Seconds() }

// outcome turns receive's ending into Run's.
func (s *session) outcome(end ending) (Result, error) {
	if end.err == nil {
		end.result.Files = s.home.files
		if s.home.err != nil {
			end.result.ExitStatus = 1
		}
		return end.result, s.home.err
	}
	end.result.ExitStatus = 1
	var failed failure
	var local localError
	switch {
	case errors.As(end.err, &failed):
		return end.result, fmt.Errorf("lab: %s", string(failed))
	case errors.As(end.err, &local):
		return end.result, fmt.Errorf("lab: %w", local.error)
	case s.isReady():
		return end.result, s.hostError("ended before the command did")
	default:
		err := s.hostError("ended before it was up")
		if strings.Contains(err.Error(), l1.ClockComplaint) {
			err = &notUpError{err, "did not find its clocks"}
		}
		return end.result, err
	}
}

func (s *session) isReady() bool {
	select {
	case <-s.ready:
		return true
	default:
		return false
	}
}

// hostError says what became of L1, with the line of its console that tells
// most.
func (s *session) hostError(what string) error {
	// When L1 has gone, its last words may still be in QEMU's pipe.
	select {
	case <-s.machine.exited:
	case <-time.After(time.Second):
	}
	hint := ""
	if s.cfg.Console == nil {
		hint = " (--verbose shows its console)"
	}
	return &HostError{fmt.Sprintf("lab: the emulated host %s: %s%s", what, s.machine.console.reason(), hint)}
}

// HostError is the death of the emulated host under its command: a fault of the emulation, of the host's kernel, or of what the command
// did to them.
type HostError struct{ reason string }

func (e *HostError) Error() string { return e.reason }

// failure is L1's word for why it could not go on.
type failure string

func (f failure) Error() string { return string(f) }

// localError is an error of this machine, such as a full disk behind Stdout.
type localError struct{ error }

// receive handles L1's frames until the exit status.
func (s *session) receive() (Result, error) {
	for {
		t, payload, err := s.conn.Receive()
		if err != nil {
			return s.result, err
		}
		if t == wire.Exit {
			words, err := wire.ParseWords(t, payload, 2)
			if err != nil {
				return s.result, err
			}
			s.result.ExitStatus, s.result.Signal = int(words[0]), syscall.Signal(words[1])
			return s.result, nil
		}
		s.frames.Add(1)
		s.busy.Store(true)
		err = s.handle(t, payload)
		s.busy.Store(false)
		if err != nil {
			return s.result, err
		}
	}
}

func (s *session) handle(t wire.Type, payload []byte) error {
	switch t {
	case wire.Ready:
		return s.sendJob(payload)
	case wire.Started:
		return s.begin()
	case wire.StdinCredit:
		s.stdin.credit()
		return nil
	case wire.Stdout:
		return output("stdout", s.cfg.Stdout, payload)
	case wire.Stderr:
		return output("stderr", s.cfg.Stderr, payload)
	case wire.File:
		m, err := wire.ParseFile(payload)
		if err == nil {
			s.home.begin(m)
		}
		return err
	case wire.FileData:
		s.home.data(payload)
		return nil
	case wire.FileEnd:
		s.home.end()
		return nil
	case wire.Alive:
		return nil
	case wire.Fail:
		return failure(payload)
	}
	return fmt.Errorf("unexpected frame %v", t)
}

func output(name string, w io.Writer, b []byte) error {
	if _, err := w.Write(b); err != nil {
		return localError{fmt.Errorf("%s: %w", name, err)}
	}
	return nil
}

// sendJob answers Ready.
func (s *session) sendJob(payload []byte) error {
	words, err := wire.ParseWords(wire.Ready, payload, 1)
	if err != nil {
		return err
	}
	if words[0] != wire.Version {
		return failure(fmt.Sprintf("init speaks version %d of the lab's protocol, this program version %d: are they of one build?", words[0], wire.Version))
	}
	if s.isReady() {
		return errors.New("unexpected frame Ready")
	}
	close(s.ready)
	job := wire.JobMessage{
		Path: []byte(s.plan.path), Dir: []byte(s.plan.dir),
		Args: byteSlices(s.cfg.Command), Env: byteSlices(s.cfg.Env), Returns: byteSlices(s.plan.returns),
	}
	if f := s.terminal(); f != nil {
		job.TTY = true
		job.Rows, job.Cols = windowSize(f)
	}
	if err := s.conn.SendJSON(wire.Job, job); err != nil {
		return localError{err}
	}
	return nil
}

func byteSlices(all []string) [][]byte {
	var b [][]byte
	for _, s := range all {
		b = append(b, []byte(s))
	}
	return b
}

// begin answers Started.
func (s *session) begin() error {
	select {
	case <-s.started:
		return errors.New("unexpected frame Started")
	default:
	}
	s.result.StartSeconds = s.sinceStart()
	s.progress.up()
	close(s.started)
	if f := s.terminal(); f != nil {
		if err := s.takeTerminal(f); err != nil {
			return localError{err}
		}
	}
	go s.stdin.run()
	return nil
}

// terminal returns the caller's terminal when the command is to have one.
func (s *session) terminal() *os.File {
	f, ok := s.cfg.Stdin.(*os.File)
	if !s.cfg.TTY || !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return f
}
