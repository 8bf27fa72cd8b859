package lab

import (
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// takeTerminal puts the caller's terminal in raw mode, so that every key goes
// to the command's own terminal in L1, and keeps that one's size equal.
func (s *session) takeTerminal(f *os.File) error {
	s.termMu.Lock()
	defer s.termMu.Unlock()
	if s.restore != nil {
		return nil
	}
	fd := int(f.Fd())
	old, err := term.MakeRaw(fd)
	if err != nil {
		return fmt.Errorf("terminal: raw mode: %w", err)
	}
	window := make(chan os.Signal, 1)
	signal.Notify(window, unix.SIGWINCH)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-window:
				rows, cols := windowSize(f)
				_ = s.conn.SendWindow(rows, cols) // fails only when L1 is gone
			case <-done:
				return
			}
		}
	}()
	s.restore = func() {
		signal.Stop(window)
		close(done)
		_ = term.Restore(fd, old) // nothing else could be done about it
	}
	return nil
}

// restoreTerminal undoes takeTerminal, for good.
func (s *session) restoreTerminal() {
	s.termMu.Lock()
	defer s.termMu.Unlock()
	if s.restore != nil {
		s.restore()
	}
	s.restore = func() {}
}

// windowSize returns the terminal's size; 0, 0 means that it does not know.
func windowSize(f *os.File) (rows, cols uint16) {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0
	}
	return size.Row, size.Col
}
