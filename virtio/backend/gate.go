package backend

import (
	"sync"
	"sync/atomic"
)

// Gate lets a backend close while its queues are in use: it counts who is inside. A passage costs two atomic additions on a
// word that only one queue's users write.
type Gate struct {
	state atomic.Int64 // who is inside, and gateClosed
	once  sync.Once
	empty chan struct{} // closed when the gate is, and nobody is inside
}

const gateClosed = 1 << 62

// NewGate makes an open gate.
func NewGate() *Gate { return &Gate{empty: make(chan struct{})} }

// Enter reports whether the gate is open. If it is, Leave must follow.
func (g *Gate) Enter() bool {
	if g.state.Add(1)&gateClosed != 0 {
		g.Leave()
		return false
	}
	return true
}

// Leave undoes Enter.
func (g *Gate) Leave() {
	if g.state.Add(-1) == gateClosed {
		g.once.Do(func() { close(g.empty) })
	}
}

// Close closes the gate and returns when nobody is inside any more. Not to be called from inside.
func (g *Gate) Close() {
	if g.Enter() {
		g.state.Or(gateClosed)
		g.Leave()
	}
	<-g.empty
}
