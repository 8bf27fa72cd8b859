package uart

import (
	"io"
	"sync"
)

// fifoDepth is that of each of the two FIFOs.
const fifoDepth = 16

// backlogSize bounds what Input has accepted and the FIFO has no room for.
const backlogSize = 4 << 10

// wireSize leaves room for what a change of FIFO mode sends back.
const wireSize = backlogSize + fifoDepth

// rxFIFO is the receiver FIFO, or RBR alone while the FIFOs are disabled.
type rxFIFO struct {
	buf     [fifoDepth]byte
	head, n int
	deep    bool // FIFOs enabled
	last    byte // what RBR reads when nothing is there
}

func (f *rxFIFO) len() int { return f.n }

func (f *rxFIFO) full() bool { return f.n == fifoDepth || f.n > 0 && !f.deep }

// push adds a received character, or reports an overrun: a full FIFO loses the
// new character, a full RBR its old one.
func (f *rxFIFO) push(v byte) bool {
	if f.full() {
		if !f.deep {
			f.buf[f.head] = v
		}
		return false
	}
	f.buf[(f.head+f.n)%fifoDepth] = v
	f.n++
	return true
}

func (f *rxFIFO) pop() byte {
	if f.n > 0 {
		f.last = f.buf[f.head]
		f.head = (f.head + 1) % fifoDepth
		f.n--
	}
	return f.last
}

func (f *rxFIFO) reset() { f.head, f.n = 0, 0 }

// backlog is what is on the wire to the guest. Its fields are guarded by the
// UART's mutex.
type backlog struct {
	mu      *sync.Mutex
	room    sync.Cond // signalled when bytes have left, or at close
	buf     [wireSize]byte
	head, n int
	closed  bool
}

func (b *backlog) init(mu *sync.Mutex) {
	b.mu = mu
	b.room.L = mu
}

func (b *backlog) pop() byte {
	v := b.buf[b.head]
	b.head = (b.head + 1) % wireSize
	b.n--
	b.room.Signal()
	return v
}

func (b *backlog) push(p []byte) int {
	n := max(min(len(p), backlogSize-b.n), 0)
	tail := (b.head + b.n) % wireSize
	first := copy(b.buf[tail:], p[:n])
	copy(b.buf[:], p[first:n])
	b.n += n
	return n
}

func (b *backlog) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.room.Broadcast()
}

// Input sends bytes to the guest, in order and without loss. It waits while
// the guest does not take them, and returns io.ErrClosedPipe with the number of
// bytes accepted once the port is closed. One goroutine may call it at a time.
func (u *UART) Input(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	done := 0
	for {
		if u.in.closed {
			return done, io.ErrClosedPipe
		}
		done += u.in.push(p[done:])
		u.receive()
		u.update()
		if done == len(p) {
			return done, nil
		}
		// receive may have made room again.
		if u.in.n >= backlogSize {
			u.in.room.Wait()
		}
	}
}

// pollerReads is how many reads of LSR in a row, with no other access between
// them, make a driver one that polls for input. A driver that waits for its
// transmitter reads LSR once or twice and then writes.
const pollerReads = 64

// receive moves bytes from the wire to the FIFO while the far end may send.
// In loopback the receiver is cut off from the wire.
func (u *UART) receive() {
	if u.mcr&mcrLOOP != 0 || u.mcr&mcrOUT2 == 0 || u.ier&ierERBFI == 0 {
		return
	}
	for u.in.n > 0 && !u.rx.full() {
		u.rx.push(u.in.pop())
	}
}

// returnInput empties the receiver into the wire. A change of FIFO mode clears
// the FIFO; Linux changes it just after it has enabled the receive interrupt, and
// what has arrived in between is not meant to be lost. What is cleared by
// request, with FCR's reset bit, is.
func (u *UART) returnInput() {
	for u.mcr&mcrLOOP == 0 && u.rx.n > 0 && u.in.n < wireSize {
		u.rx.n--
		u.in.head = (u.in.head + wireSize - 1) % wireSize
		u.in.buf[u.in.head] = u.rx.buf[(u.rx.head+u.rx.n)%fifoDepth]
		u.in.n++
	}
	u.rx.reset()
}

// poll lets one byte through to a driver that does nothing but read LSR.
func (u *UART) poll() {
	if u.mcr&mcrLOOP == 0 && u.in.n > 0 && u.rx.len() == 0 {
		u.rx.push(u.in.pop())
	}
}
