package vcpu

import (
	"os"
	"runtime"

	"doorbell/internal/futex"

	"golang.org/x/sys/unix"
)

// What the vCPU's thread does, in CPU.where.
const (
	outside uint32 = iota // it serves an exit, or is about to look at what is wanted of it
	inGuest               // it is in KVM_RUN, or about to call it
	asleep                // it waits in the futex that where is
)

// gateClosed is the bit of CPU.gate that says that the vCPU is being released. The others count the threads that are in Kick.
const gateClosed = 1 << 30

// pid is this process's, which does not change.
var pid = os.Getpid()

// Kick makes the vCPU's thread look at what is wanted of it, and at what waits at its Controller, before it enters the guest again. It
// returns at once; any thread may call it at any time, the vCPU's own too. It takes no lock.
//
// The order on both sides is what loses no kick. Everything is a sequentially consistent atomic operation, or a system call:
//
//	who kicks                           the thread
//	1. say what is wanted               5. clear immediate_exit
//	2. set immediate_exit               6. look at what is wanted
//	3. look where the thread is         7. where = inGuest (or asleep)
//	4. in the guest: a signal           8. KVM_RUN reads immediate_exit (or the thread does before its futex)
//	   asleep: wake it
//
// If 2 comes before 5, then so does 1, and 6 sees it. Else 8 sees the bit, unless the thread is in KVM_RUN or asleep already: then 7
// came before 3, and the signal or the wake-up is sent. A thread that is outside the guest, above all the vCPU's own when a register
// access of its guest has the kick as a result, costs neither.
func (c *CPU) Kick() {
	if c.gate.Add(1)&gateClosed == 0 {
		c.book.KickAsked()
		c.page.RequestExit()
		switch c.where.Load() {
		case inGuest:
			c.book.KickSignalled()
			_ = unix.Tgkill(pid, c.tid, kickSignal)
		case asleep:
			if c.where.CompareAndSwap(asleep, outside) {
				c.book.KickWoken()
				futex.Wake(&c.where, 1)
			}
		}
	}
	c.gate.Add(-1)
}

// Asleep says whether the vCPU's thread waits in doorbell for a kick: its guest has halted, and its local APIC is outside KVM.
func (c *CPU) Asleep() bool { return c.where.Load() == asleep }

// closeGate waits until nobody is in Kick, and turns away who comes later: the shared page is about to go.
func (c *CPU) closeGate() {
	c.gate.Or(gateClosed)
	for c.gate.Load() != gateClosed {
		runtime.Gosched()
	}
}

// sleep waits for a kick.
func (c *CPU) sleep() {
	c.where.Store(asleep)
	for c.where.Load() == asleep && !c.page.ExitRequested() {
		futex.Wait(&c.where, asleep)
	}
	c.where.Store(outside)
}
