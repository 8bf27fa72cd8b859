package irqchip

import (
	"encoding/binary"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"doorbell/irqchip/lapic"

	"golang.org/x/sys/unix"
)

// userVector is the way of one MSI-X vector to our own local APICs: while connected, firing it sends its message from the thread that fires.
type userVector struct {
	bus    *lapic.Bus
	device string
	number int

	message *lapic.Message // as routed last; the owner's

	live  atomic.Pointer[lapic.Message] // nil while disconnected
	count atomic.Uint64                 // fired while disconnected

	// firing counts the threads in Fire, in two classes that Disconnect tells apart: those that may have seen live before it was
	// cleared, for whom it waits, and those that came later, who could otherwise keep it waiting for ever.
	firing [2]atomic.Int64
	class  atomic.Uint32

	mu   sync.Mutex // guards what FD makes
	fd   int
	stop int
	done chan struct{}
}

// Fire implements pci.Vector: a post to a descriptor, without a lock or an allocation, and a kick if the vCPU has none yet.
func (v *userVector) Fire() {
	class := &v.firing[v.class.Load()&1]
	class.Add(1)
	if m := v.live.Load(); m != nil {
		v.bus.Send(*m)
	} else {
		v.count.Add(1)
	}
	class.Add(-1)
}

// Take implements pci.Vector.
func (v *userVector) Take() uint64 { return v.count.Swap(0) }

// Connect implements pci.Vector.
func (v *userVector) Connect() error {
	v.live.Store(v.message)
	if v.count.Swap(0) > 0 {
		v.Fire()
	}
	return nil
}

// Disconnect implements pci.Vector.
func (v *userVector) Disconnect() error {
	v.live.Store(nil)
	// A thread that takes the old class's number only now, and was slow to, finds live cleared.
	old := &v.firing[v.class.Add(1)&1^1]
	for old.Load() != 0 {
		runtime.Gosched()
	}
	return nil
}

// FD implements pci.Vector: an eventfd, made when somebody asks for it, with a goroutine that fires the vector for each of its signals. It is -1
// if the process has no descriptor left.
func (v *userVector) FD() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fd >= 0 {
		return v.fd
	}
	fd, err := newEventFD()
	if err != nil {
		return -1
	}
	stop, err := newEventFD()
	if err != nil {
		unix.Close(fd)
		return -1
	}
	v.fd, v.stop, v.done = fd, stop, make(chan struct{})
	go v.listen()
	return v.fd
}

func (v *userVector) listen() {
	defer close(v.done)
	fds := []unix.PollFd{{Fd: int32(v.fd), Events: unix.POLLIN}, {Fd: int32(v.stop), Events: unix.POLLIN}}
	var b [8]byte
	for {
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return // the descriptors are ours: it cannot happen
		}
		if fds[1].Revents != 0 {
			return
		}
		if n, _ := unix.Read(v.fd, b[:]); n == len(b) {
			// Firings that came together are one message, as they are one bit of IRR; a vector that is disconnected keeps them all.
			if n := binary.NativeEndian.Uint64(b[:]); v.live.Load() == nil {
				v.count.Add(n - 1)
			}
			v.Fire()
		}
	}
}

// remove ends what FD has begun.
func (v *userVector) remove() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fd < 0 {
		return nil
	}
	_, _ = unix.Write(v.stop, one)
	<-v.done
	err := errors.Join(unix.Close(v.fd), unix.Close(v.stop))
	v.fd = -1
	return err
}
