package mailbox

import (
	"fmt"
	"time"
)

// Send sends a message, in several frames if it is long, and waits for room at
// most the send timeout for each.
func (p *Port) Send(t Type, payload []byte) error {
	if !p.sends(t) {
		return fmt.Errorf("mailbox: this side does not send %v", t)
	}
	if len(payload) > MaxMessage {
		return fmt.Errorf("mailbox: %v of %d bytes, at most %d can be sent", t, len(payload), MaxMessage)
	}
	p.sending.Lock()
	defer p.sending.Unlock()
	for first := true; ; first = false {
		n := min(len(payload), p.out.maxSend())
		if err := p.waitForRoom(headerSize + n); err != nil {
			if err == ErrFull && first {
				return fmt.Errorf("mailbox: %v of %d bytes: %s: %w", t, len(payload), p.out.name, err)
			} else if err == ErrFull {
				// The frames already sent cannot be taken back.
				return p.breakWith(fmt.Errorf("%v: %d bytes of it were not taken: %s: %w", t, len(payload), p.out.name, err))
			}
			return err
		}
		header := uint32(t)
		if n < len(payload) {
			header |= moreFlag
		}
		p.out.put(header, payload[:n])
		if p.notify != nil {
			p.notify()
		}
		if payload = payload[n:]; len(payload) == 0 {
			return nil
		}
	}
}

// waitForRoom returns when n bytes fit, ErrFull after the timeout, or the
// port's error. The peer rings no bell when it reads, so this looks again and again.
func (p *Port) waitForRoom(n int) error {
	deadline := time.Now().Add(p.timeout)
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		if err := p.err(); err != nil {
			return err
		}
		room, err := p.out.room()
		if err != nil {
			return p.breakWith(err)
		}
		if room >= uint64(n) {
			return nil
		}
		if !time.Now().Before(deadline) {
			return ErrFull
		}
		time.Sleep(pause)
	}
}
