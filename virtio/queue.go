package virtio

// Queue is an enabled virtqueue, split or packed, as its device uses it:
//
//	for {
//		wait for KickFD; TakeKicks
//		DisableKicks
//		for more := true; more; more = EnableKicks() {
//			Pop ... Push ... Publish; Notify
//		}
//	}
//
// All methods but Index and Size belong to one thread at a time. None of them locks or allocates, except when an error is made.
type Queue struct {
	index, size int
	ring        ring
	port        queuePort
	kick        *eventFD
	stats       *QueueStats

	err    error  // why it was stopped
	popped uint64 // not yet added to stats
}

// queuePort is the transport's side of a queue; its methods are called by the queue's thread and take no lock.
type queuePort interface {
	// interruptQueue fires the queue's vector and says whether it has one.
	interruptQueue(n int) bool
	// fail sets DEVICE_NEEDS_RESET.
	fail(err error)
}

// newQueue reads the ring as the driver laid it out.
func newQueue(index int, c ringConfig, packedRing bool, port queuePort, kick *eventFD, stats *QueueStats) (*Queue, error) {
	q := &Queue{index: index, size: c.size, port: port, kick: kick, stats: stats}
	var err error
	if packedRing {
		q.ring, err = newPacked(c)
	} else {
		q.ring, err = newSplit(c)
	}
	if err != nil {
		return nil, err
	}
	return q, nil
}

// Index is the queue's number in its device.
func (q *Queue) Index() int { return q.index }

// Size is the number of entries that the driver chose.
func (q *Queue) Size() int { return q.size }

// NewChain makes a chain for Pop, large enough for any that this queue can hold. It is the only allocation; devices keep their chains.
func (q *Queue) NewChain() *Chain { return &Chain{segments: make([][]byte, 0, q.size)} }

// Pop takes the next available buffer into c; ok is false when there is none. An error is final: the device has been marked as needing a
// reset, and the thread should leave the queue alone until then.
func (q *Queue) Pop(c *Chain) (ok bool, err error) {
	if q.err != nil {
		return false, q.err
	}
	ok, at, err := q.ring.pop(c)
	if err != nil {
		q.stop(at, err)
		return false, q.err
	}
	if ok {
		q.popped++
	}
	return ok, nil
}

// Push gives a buffer back with the number of bytes written to it. The driver sees it after Publish. Buffers may be pushed in any order,
// each exactly once.
func (q *Queue) Push(c *Chain, written uint32) { q.ring.push(c, written) }

// Publish shows the driver all buffers pushed since the last time, at once, and says whether there were any.
func (q *Queue) Publish() bool {
	shown := q.ring.publish()
	if shown {
		q.stats.Batches.Add(1)
	}
	q.count()
	return shown
}

// NeedsInterrupt says whether the driver wants an interrupt for what was published since the last call. A device that
// coalesces interrupts calls it when it is ready to send one.
func (q *Queue) NeedsInterrupt() bool {
	published, wanted := q.ring.needsInterrupt()
	if published && !wanted {
		q.stats.Suppressed.Add(1)
	}
	return wanted
}

// Interrupt tells the driver to look at the queue: one write(2).
func (q *Queue) Interrupt() {
	if q.port.interruptQueue(q.index) {
		q.stats.Interrupts.Add(1)
	}
}

// Notify interrupts if the driver wants that.
func (q *Queue) Notify() {
	if q.NeedsInterrupt() {
		q.Interrupt()
	}
}

// Available says whether there are buffers to pop, for a thread that polls.
func (q *Queue) Available() bool { return q.err == nil && q.ring.available() }

// EnableKicks asks the driver to kick when it makes the next buffer available. It returns true if one has become available
// meanwhile, for which no kick may come: the caller must look again before it waits.
func (q *Queue) EnableKicks() (more bool) {
	if q.err != nil {
		return false
	}
	q.count()
	q.ring.enableKicks()
	return q.ring.available()
}

// DisableKicks tells the driver not to kick for now. It is a hint: kicks may come all the same.
func (q *Queue) DisableKicks() { q.ring.disableKicks() }

// KickFD is the eventfd that becomes readable when the driver kicks. It is the transport's and outlives the queue.
func (q *Queue) KickFD() int { return q.kick.fd }

// TakeKicks empties KickFD and counts.
func (q *Queue) TakeKicks() uint64 {
	n := q.kick.take()
	if n > 0 {
		q.stats.Kicks.Add(n)
	}
	return n
}

// Err is why the queue was stopped, or nil.
func (q *Queue) Err() error { return q.err }

// Fail stops the queue because a buffer's contents broke the device type's rules, and marks the device as needing a reset.
func (q *Queue) Fail(err error) {
	if q.err == nil {
		q.stop(0, err)
	}
}

func (q *Queue) stop(position uint16, err error) {
	q.err = &QueueError{Queue: q.index, Position: position, Err: err}
	q.count()
	q.port.fail(q.err)
}

// count adds what Pop counted; once in a batch, since a counter that others may read costs more than a register.
func (q *Queue) count() {
	if q.popped > 0 {
		q.stats.Chains.Add(q.popped)
		q.popped = 0
	}
}
