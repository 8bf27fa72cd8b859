package l1

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"doorbell/internal/lab/wire"
)

// caller is the other half, after it has sent the job.
type caller struct {
	conn      *wire.Conn
	listening bool          // only runJob and awaitEnd use it, one after the other
	gone      chan struct{} // closed when the caller has closed the channel
}

func newCaller(conn *wire.Conn) *caller {
	return &caller{conn: conn, gone: make(chan struct{})}
}

// listen starts to handle what the caller sends for the command pid. It is
// called at most once.
func (c *caller) listen(pid int, std *stdio) {
	c.listening = true
	// The window's frames and the end fit: the channel never fills, so that
	// signals get past input that the command does not read.
	input := make(chan []byte, wire.StdinWindow+1)
	go std.feed(c.conn, input)
	go func() {
		defer close(c.gone)
		defer close(input)
		ended := false
		for {
			t, payload, err := c.conn.Receive()
			if err != nil {
				// Without a caller nothing is worth doing. Ending the command
				// makes everything else end.
				_ = unix.Kill(-1, unix.SIGKILL)
				return
			}
			switch t {
			case wire.Stdin:
				if !ended && len(payload) > 0 {
					input <- append([]byte(nil), payload...)
				}
			case wire.StdinEOF:
				if !ended {
					input <- nil
				}
				ended = true
			case wire.Signal:
				if words, err := wire.ParseWords(t, payload, 1); err == nil {
					// To the process group, as a terminal does. It fails only
					// when the group has ended.
					_ = unix.Kill(-pid, syscall.Signal(words[0]))
				}
			case wire.Window:
				if rows, cols, err := wire.ParseWindow(payload); err == nil {
					std.resize(rows, cols)
				}
			}
		}
	}()
}

// awaitEnd gives the caller time to take what was sent: powering off at once
// could overtake it inside the emulator. The caller ends the machine itself as
// soon as it has everything, so this is rarely longer than a moment.
func (c *caller) awaitEnd() {
	if !c.listening {
		go func() {
			defer close(c.gone)
			for {
				if _, _, err := c.conn.Receive(); err != nil {
					return
				}
			}
		}()
	}
	select {
	case <-c.gone:
	case <-time.After(10 * time.Second):
	}
}
