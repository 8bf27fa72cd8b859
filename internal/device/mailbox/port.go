package mailbox

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Errors that callers tell apart.
var (
	// ErrFull: the peer made no room in time. Nothing was sent; the port works on.
	ErrFull = errors.New("ring is full")
	// ErrBroken: the peer broke the protocol, or stopped reading in the middle of
	// a message. The port does not work any more.
	ErrBroken = errors.New("mailbox is broken")
	// ErrClosed: Close was called.
	ErrClosed = errors.New("mailbox is closed")
)

// DefaultSendTimeout is how long Send waits for room for each frame.
const DefaultSendTimeout = 5 * time.Second

// Bounds of the pause between looks at a full ring.
const (
	firstPause = 50 * time.Microsecond
	lastPause  = 5 * time.Millisecond
)

// Port is one side's end of a mailbox. Any goroutine may call its methods.
type Port struct {
	accepts func(Type) bool // types the peer sends
	sends   func(Type) bool

	// notify and timeout are set before the port is used.
	notify  func()
	timeout time.Duration

	// failed holds the error that ended the port.
	failed atomic.Pointer[error]

	// sending and receiving guard one ring each; neither is taken inside the other.
	sending   sync.Mutex
	out       ring
	receiving sync.Mutex
	in        ring
	// partial gathers a message whose last frame has not come; more says that
	// there is one, of type partialType.
	partial     []byte
	partialType Type
	more        bool
}

// NewHost makes the host's end in shared RAM, whose content it resets: the guest
// must not be using it.
func NewHost(shared []byte) (*Port, error) {
	p, err := newPort(shared)
	if err != nil {
		return nil, err
	}
	for _, off := range []int{guestTailOffset, hostHeadOffset, hostTailOffset, guestHeadOffset} {
		word(shared, off).Store(0)
	}
	p.accepts, p.sends = fromGuest, fromHost
	p.in = newRing("guest ring", shared, guestRingOffset, guestRingSize, hostHeadOffset, guestTailOffset)
	p.out = newRing("host ring", shared, hostRingOffset, hostRingSize, hostTailOffset, guestHeadOffset)
	word(shared, identOffset).Store(Magic | Version<<32)
	return p, nil
}

// NewGuest makes the guest's end in shared RAM that the host has prepared. It
// goes on where an earlier guest's end has stopped.
func NewGuest(shared []byte) (*Port, error) {
	p, err := newPort(shared)
	if err != nil {
		return nil, err
	}
	if id := word(shared, identOffset).Load(); uint32(id) != Magic {
		return nil, fmt.Errorf("mailbox: magic 0x%08x, want 0x%08x", uint32(id), uint32(Magic))
	} else if id>>32 != Version {
		return nil, fmt.Errorf("mailbox: version %d, this agent knows %d", id>>32, Version)
	}
	p.accepts, p.sends = fromHost, fromGuest
	p.in = newRing("host ring", shared, hostRingOffset, hostRingSize, guestHeadOffset, hostTailOffset)
	p.out = newRing("guest ring", shared, guestRingOffset, guestRingSize, guestTailOffset, hostHeadOffset)
	p.in.resume()
	p.out.resume()
	return p, nil
}

func newPort(shared []byte) (*Port, error) {
	if len(shared) != SharedSize || !aligned(shared) {
		return nil, fmt.Errorf("mailbox: shared RAM of %d bytes, want %d, aligned to 8", len(shared), SharedSize)
	}
	return &Port{timeout: DefaultSendTimeout}, nil
}

func newRing(name string, shared []byte, off, size, mine, peers int) ring {
	return ring{name: name, data: shared[off : off+size], mine: word(shared, mine), peers: word(shared, peers)}
}

// resume continues at the indices in shared memory. Only the guest may: to the host
// they are the guest's word, and it starts at 0.
func (r *ring) resume() { r.pos, r.seen = r.mine.Load(), r.peers.Load() }

// OnSend sets a function that is called after each frame sent: the guest rings
// the doorbell there. Set it before the port is used.
func (p *Port) OnSend(notify func()) { p.notify = notify }

// SetSendTimeout sets how long Send waits for room for each frame, 0 for not at
// all. Set it before the port is used.
func (p *Port) SetSendTimeout(d time.Duration) { p.timeout = d }

// Close makes every later call fail, and a Send that waits return, with ErrClosed.
func (p *Port) Close() {
	err := fmt.Errorf("mailbox: %w", ErrClosed)
	p.failed.CompareAndSwap(nil, &err)
}

func (p *Port) err() error {
	if e := p.failed.Load(); e != nil {
		return *e
	}
	return nil
}

// breakWith ends the port, and returns the error that did.
func (p *Port) breakWith(cause error) error {
	err := fmt.Errorf("mailbox: %w: %w", ErrBroken, cause)
	p.failed.CompareAndSwap(nil, &err)
	return p.err()
}
