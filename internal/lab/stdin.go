package lab

import (
	"io"

	"doorbell/internal/lab/wire"
)

// stdinPump sends the caller's standard input to L1, never more than
// wire.StdinWindow frames ahead of the command.
type stdinPump struct {
	conn    *wire.Conn
	r       io.Reader // nil: empty
	credits chan struct{}
}

func newStdinPump(conn *wire.Conn, r io.Reader) *stdinPump {
	p := &stdinPump{conn: conn, r: r, credits: make(chan struct{}, wire.StdinWindow)}
	for range wire.StdinWindow {
		p.credits <- struct{}{}
	}
	return p
}

// credit lets one more frame go. What L1 grants beyond the window is dropped.
func (p *stdinPump) credit() {
	select {
	case p.credits <- struct{}{}:
	default:
	}
}

// run sends until the input ends or the channel is closed. An input that
// cannot be read ends, as it does for a process that reads it itself.
func (p *stdinPump) run() {
	buf := make([]byte, wire.Chunk)
	for p.r != nil {
		<-p.credits
		n, err := p.r.Read(buf)
		if n > 0 {
			if p.conn.Send(wire.Stdin, buf[:n]) != nil {
				return
			}
		} else {
			p.credit()
		}
		if err != nil {
			break
		}
	}
	_ = p.conn.Send(wire.StdinEOF, nil) // fails only when L1 is gone
}
