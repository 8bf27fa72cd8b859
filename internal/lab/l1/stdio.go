package l1

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"doorbell/internal/lab/wire"
)

// stdio is the command's standard input, output and error: three pipes or one
// terminal.
type stdio struct {
	child   []*os.File // the command's ends
	in      *os.File
	outputs map[wire.Type]*os.File
	tty     bool
}

func newStdio(job wire.JobMessage) (*stdio, error) {
	if job.TTY {
		master, slave, err := pty.Open()
		if err != nil {
			return nil, fmt.Errorf("open a terminal: %w", err)
		}
		s := &stdio{tty: true, child: []*os.File{slave}, in: master, outputs: map[wire.Type]*os.File{wire.Stdout: master}}
		s.resize(job.Rows, job.Cols)
		return s, nil
	}
	s := &stdio{outputs: map[wire.Type]*os.File{}}
	for fd := range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("open a pipe: %w", err)
		}
		switch fd {
		case 0:
			s.in, s.child = w, append(s.child, r)
		case 1:
			s.outputs[wire.Stdout], s.child = r, append(s.child, w)
		case 2:
			s.outputs[wire.Stderr], s.child = r, append(s.child, w)
		}
	}
	return s, nil
}

func (s *stdio) childFDs() []uintptr {
	if s.tty {
		fd := s.child[0].Fd()
		return []uintptr{fd, fd, fd}
	}
	// Fd makes the command's ends blocking, which programs expect.
	return []uintptr{s.child[0].Fd(), s.child[1].Fd(), s.child[2].Fd()}
}

// attributes put the command into a process group of its own, and with a
// terminal into a session that the terminal controls.
func (s *stdio) attributes() *syscall.SysProcAttr {
	if s.tty {
		return &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	}
	return &syscall.SysProcAttr{Setpgid: true}
}

func (s *stdio) closeChild() {
	for _, f := range s.child {
		f.Close()
	}
}

// copyOutput starts to send the command's output. The returned function waits
// until all of it has been sent.
func (s *stdio) copyOutput(conn *wire.Conn) (wait func() error) {
	var copies sync.WaitGroup
	errs := make(chan error, len(s.outputs))
	for t, f := range s.outputs {
		copies.Go(func() {
			_, err := io.CopyBuffer(conn.Writer(t), struct{ io.Reader }{f}, make([]byte, wire.Chunk))
			// A terminal ends with EIO when the last process has closed it.
			if err != nil && !(s.tty && errors.Is(err, unix.EIO)) {
				errs <- err
			}
		})
	}
	return func() error {
		copies.Wait()
		select {
		case err := <-errs:
			return fmt.Errorf("send the command's output: %w", err)
		default:
			return nil
		}
	}
}

// feed writes the command's input, and grants the caller a frame for each
// that the command has taken. An empty chunk is the end. A command that does
// not take any more, or has ended, loses the rest.
func (s *stdio) feed(conn *wire.Conn, input <-chan []byte) {
	broken := false
	for chunk := range input {
		if chunk == nil {
			s.endInput()
			broken = true
			continue
		}
		if !broken {
			_, err := s.in.Write(chunk)
			broken = err != nil
		}
		if conn.Send(wire.StdinCredit, nil) != nil {
			return
		}
	}
}

// endInput tells the command that its input has ended. A terminal has no such
// state: its end-of-file character says it.
func (s *stdio) endInput() {
	if s.tty {
		const endOfTransmission = 0x04
		_, _ = s.in.Write([]byte{endOfTransmission})
		return
	}
	s.in.Close()
}

func (s *stdio) resize(rows, cols uint16) {
	if s.tty && rows > 0 && cols > 0 {
		// A terminal of the wrong size is no reason to stop.
		_ = pty.Setsize(s.in, &pty.Winsize{Rows: rows, Cols: cols})
	}
}
