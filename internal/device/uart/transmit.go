package uart

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// txRingSize bounds what the guest has sent and the output has not taken. It is
// a power of two.
const txRingSize = 64 << 10

// transmitter is the ring between the guest and the output. head and tail
// count bytes since the start; tail-head are queued.
type transmitter struct {
	mu    *sync.Mutex
	data  sync.Cond // signalled when bytes are queued, or at abort
	space sync.Cond // broadcast when bytes have left, at close and at abort

	ring       []byte
	head, tail uint64
	closed     bool  // a full ring drops instead of waiting
	aborted    bool  // nothing is queued or output any more
	err        error // of the output
}

func (t *transmitter) init(mu *sync.Mutex) {
	t.mu = mu
	t.data.L = mu
	t.space.L = mu
	t.ring = make([]byte, txRingSize)
}

// push queues a byte. Called with mu held, which it gives up while it waits.
func (t *transmitter) push(v byte) {
	for t.tail-t.head == txRingSize && !t.closed && !t.aborted {
		t.space.Wait()
	}
	if t.aborted || t.tail-t.head == txRingSize {
		return
	}
	t.ring[t.tail%txRingSize] = v
	t.tail++
	t.data.Signal()
}

// run is the writer goroutine.
func (t *transmitter) run(out io.Writer, observe func([]byte)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		for t.head == t.tail && !t.aborted {
			t.data.Wait()
		}
		if t.aborted {
			return
		}
		from := t.head % txRingSize
		p := t.ring[from:min(from+t.tail-t.head, txRingSize)]
		failed := t.err != nil
		t.mu.Unlock()
		if observe != nil {
			observe(p)
		}
		var err error
		if out != nil && !failed {
			_, err = out.Write(p)
		}
		t.mu.Lock()
		if err != nil {
			t.err = fmt.Errorf("uart: output: %w", err)
		}
		t.head += uint64(len(p))
		t.space.Broadcast()
	}
}

// flush waits until what is queued now has left.
func (t *transmitter) flush(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.space.Broadcast()
	})
	defer stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	until := t.tail
	for t.head < until && !t.aborted && ctx.Err() == nil {
		t.space.Wait()
	}
	if left := until - min(t.head, until); left > 0 {
		cause := ctx.Err()
		if cause == nil {
			cause = errAborted
		}
		return fmt.Errorf("uart: output: %d bytes not written: %w", left, cause)
	}
	return t.err
}

var errAborted = errors.New("the port was closed")

func (t *transmitter) close(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	t.space.Broadcast()
	t.mu.Unlock()
	return t.flush(ctx)
}

func (t *transmitter) abort() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.aborted = true
	t.data.Broadcast()
	t.space.Broadcast()
}
