package mailbox

import "fmt"

// Receive returns the next message, or false when there is none yet. It never
// waits, and does at most one ring's worth of work.
func (p *Port) Receive() (Message, bool, error) {
	p.receiving.Lock()
	defer p.receiving.Unlock()
	if err := p.err(); err != nil {
		return Message{}, false, err
	}
	m, ok, err := p.receive()
	if err != nil {
		p.partial = nil
		return Message{}, false, p.breakWith(err)
	}
	return m, ok, nil
}

func (p *Port) receive() (Message, bool, error) {
	used, err := p.in.used()
	if err != nil {
		return Message{}, false, err
	}
	for used > 0 {
		at := p.in.pos
		n, header, err := p.in.header(used)
		if err != nil {
			return Message{}, false, err
		}
		t, more := Type(header&^moreFlag), header&moreFlag != 0
		switch {
		case !p.accepts(t):
			return Message{}, false, fmt.Errorf("%s: frame at 0x%x: the peer does not send %v", p.in.name, at, t)
		case p.more && t != p.partialType:
			return Message{}, false, fmt.Errorf("%s: frame at 0x%x: %v inside %v", p.in.name, at, t, p.partialType)
		case more && n == 0:
			return Message{}, false, fmt.Errorf("%s: frame at 0x%x: %v: empty, with more to come", p.in.name, at, t)
		case len(p.partial)+n > MaxMessage:
			return Message{}, false, fmt.Errorf("%s: frame at 0x%x: %v exceeds %d bytes", p.in.name, at, t, MaxMessage)
		}
		start := len(p.partial)
		p.partial = append(p.partial, make([]byte, n)...)
		p.in.take(p.partial[start:])
		used -= uint64(headerSize + n)
		p.partialType, p.more = t, more
		if !more {
			m := Message{Type: t, Payload: p.partial}
			p.partial = nil
			return m, true, nil
		}
	}
	return Message{}, false, nil
}
