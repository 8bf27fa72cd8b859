package netdev

import (
	"fmt"
	"runtime"
	"sync/atomic"

	"doorbell/virtio"

	"golang.org/x/sys/unix"
)

// batch is the most packets between two looks at everything else: the driver sees them together, and nobody waits longer for the goroutine.
const batch = 64

// thread is the goroutine of one queue.
type thread struct {
	device *Device
	queue  *virtio.Queue
	waiter *waiter
	stats  *QueueStats

	stopping atomic.Bool
	done     chan struct{}
}

// start runs a queue's goroutine. name is that of its thread, in mode Block.
func (t *thread) start(name string, run func()) {
	t.done = make(chan struct{})
	go func() {
		defer close(t.done)
		if t.waiter.mode == Block {
			// The thread ends with its goroutine, and its name with it.
			runtime.LockOSThread()
			setThreadName(name)
		}
		run()
		t.queue.TakeKicks() // those that no wait has ended with: the transport forgets them
	}()
}

// setThreadName names the calling thread, for top and perf; the kernel takes 15 bytes.
func setThreadName(name string) {
	if p, err := unix.BytePtrFromString(name[:min(len(name), 15)]); err == nil {
		_ = prctlName(p)
	}
}

// stop ends the goroutine and returns when it touches nothing any more. It never waits for a lock: a round is at most a batch long,
// and backends do not block.
func (t *thread) stop() {
	t.stopping.Store(true)
	t.waiter.wake()
	<-t.done
	t.waiter.end()
}

// kicked counts the kicks that ended a wait.
func (t *thread) kicked() {
	if t.waiter.kicked {
		t.waiter.kicked = false
		t.queue.TakeKicks()
	}
}

// spins gives the processor to others now and then, for a goroutine that finds nothing to do and does not wait.
type spins int

func (s *spins) idle() {
	if *s++; *s%32 == 0 {
		runtime.Gosched()
	}
}

// yield offers the processor to other goroutines and to other threads, such as vCPUs. It returns at once where there are processors for all.
func yield() {
	runtime.Gosched()
	_, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
}

func roleName(index, control int) string {
	switch {
	case index == control:
		return "ctrl"
	case index%2 == 0:
		return fmt.Sprintf("rx%d", index/2)
	}
	return fmt.Sprintf("tx%d", index/2)
}
