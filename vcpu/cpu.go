package vcpu

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"

	"doorbell/internal/kvm"
	"doorbell/internal/ledger"

	"golang.org/x/sys/unix"
)

// Bus answers the guest's accesses, on the vCPU's own thread. p lies in the page shared with KVM: a read fills it. Several
// vCPUs call at once.
type Bus interface {
	// Port answers len(p)/size accesses of size bytes each to one port; a string instruction makes several in one exit.
	Port(vcpu int, port uint16, size int, write bool, p []byte)
	// Memory answers one access of 1 to 8 bytes to an address without memory behind it.
	Memory(vcpu int, addr uint64, write bool, p []byte)
}

// GuestMemory reads guest-physical memory, to show the instruction at a failed exit.
type GuestMemory interface {
	Bytes(gpa, n uint64) ([]byte, error)
}

// Config is what a vCPU needs from its machine.
type Config struct {
	VM     *kvm.VM
	ID     int // also its APIC id
	Bus    Bus
	Ledger *ledger.Ledger
	Memory GuestMemory
	// Controller is what of the interrupt controllers is outside KVM; nil if all of them are inside.
	Controller Controller
	Setup      func(*kvm.VCPU) error // CPUID, registers: called on the vCPU's thread before it runs
}

// What kick's caller wants of the thread, as bits.
const (
	wantStop = 1 << iota
	wantNMI
)

// CPU is a vCPU and its thread.
type CPU struct {
	cfg   Config
	kvm   *kvm.VCPU
	page  *kvm.RunPage
	book  *ledger.VCPU
	stats *kvm.Stats

	tid   int           // of the locked thread
	want  atomic.Uint32 // what is asked of it; written by anyone, read by the thread before each entry
	where atomic.Uint32 // what the thread does: see kick
	gate  atomic.Int32  // who is in kick, and whether there is anything left to kick: see kick

	start chan struct{} // closed by Run
	stop  chan Stop     // receives one Stop when the loop ends
	done  chan struct{} // closed by Close: the thread may end
	gone  chan struct{} // closed when the thread has released the vCPU
}

// kickSignal interrupts KVM_RUN. Its handler is the Go runtime's; nobody reads the channel, whose only purpose is that the
// signal is neither ignored nor fatal.
const kickSignal = unix.SIGUSR1

var catchKicks = sync.OnceFunc(func() { signal.Notify(make(chan os.Signal, 1), kickSignal) })

// New starts a thread that creates the vCPU and prepares it, and returns when that is done. The guest does not run before
// Run.
func New(cfg Config) (*CPU, error) {
	catchKicks()
	c := &CPU{
		cfg: cfg, book: cfg.Ledger.VCPU(cfg.ID),
		start: make(chan struct{}), stop: make(chan Stop, 1), done: make(chan struct{}), gone: make(chan struct{}),
	}
	ready := make(chan error)
	go c.thread(ready)
	if err := <-ready; err != nil {
		return nil, err
	}
	return c, nil
}

// thread is the vCPU's own: KVM wants a vCPU's ioctls from one thread, and the signal that kicks it needs a fixed target.
func (c *CPU) thread(ready chan<- error) {
	runtime.LockOSThread()
	// Not unlocked: the thread ends with the goroutine, so that no later goroutine inherits its signals.
	defer close(c.gone)
	if err := c.create(); err != nil {
		ready <- err
		return
	}
	defer c.release()
	ready <- nil
	select {
	case <-c.start:
		c.stop <- c.loop()
		<-c.done
	case <-c.done:
	}
}

func (c *CPU) create() (err error) {
	c.tid = unix.Gettid()
	if c.kvm, err = c.cfg.VM.CreateVCPU(c.cfg.ID); err != nil {
		return err
	}
	c.page = c.kvm.RunPage()
	if c.stats, err = c.kvm.Stats(); err != nil {
		c.stats = nil // an older kernel: the report says so
	}
	if c.cfg.Controller != nil {
		err = c.cfg.Controller.Setup(c)
	}
	if err == nil {
		err = c.cfg.Setup(c.kvm)
	}
	if err != nil {
		c.release()
		return err
	}
	return nil
}

func (c *CPU) release() {
	if c.stats != nil {
		c.stats.Close()
	}
	c.kvm.Close()
}

// Run lets the guest run. Stopped delivers the reason when it ends.
func (c *CPU) Run() { close(c.start) }

// Stopped receives one Stop when the vCPU has left its loop.
func (c *CPU) Stopped() <-chan Stop { return c.stop }

// TID is the thread that runs the vCPU, as tracepoints name it.
func (c *CPU) TID() int { return c.tid }

// Stats are KVM's own counters of this vCPU, or nil where the kernel has none.
func (c *CPU) Stats() *kvm.Stats { return c.stats }

// Stop asks the vCPU to leave the guest and its loop; it returns at once. Any thread may call it at any time, a device on the
// vCPU's own thread too; after Close it does nothing.
func (c *CPU) Stop() {
	c.want.Or(wantStop)
	c.Kick()
}

// Close releases the vCPU after its loop has ended, or before it began, and waits for the thread.
func (c *CPU) Close() {
	c.closeGate()
	close(c.done)
	<-c.gone
}

// loop runs the guest until somebody asks it to stop or it cannot go on.
func (c *CPU) loop() Stop {
	controller := c.cfg.Controller
	for {
		if c.page.ExitRequested() {
			c.page.ClearExit() // before looking at what is wanted: see Kick
		}
		if want := c.want.Load(); want != 0 {
			if want&wantStop != 0 {
				return Stop{VCPU: c.cfg.ID, Kind: Asked, Detail: "asked to stop" + c.position(nil)}
			}
			c.want.And(^uint32(wantNMI)) // before it is done: one that comes meanwhile kicks again
			c.lint1()
		}
		if controller != nil {
			run, err := controller.Enter(c)
			if err != nil {
				return Stop{VCPU: c.cfg.ID, Kind: RunFailed, Detail: err.Error() + c.position(nil)}
			}
			if !run {
				c.sleep()
				continue
			}
		}
		c.where.Store(inGuest)
		errno := c.kvm.Run()
		c.where.Store(outside)
		if controller != nil {
			controller.Left(c)
		}
		switch errno {
		case 0:
			reason := c.page.Reason()
			c.book.Exit(reason)
			switch reason {
			case kvm.ExitIo:
				p := c.page.Port()
				c.cfg.Bus.Port(c.cfg.ID, p.Port, int(p.Size), p.Write, p.Data)
			case kvm.ExitMmio:
				m := c.page.MMIO()
				if controller == nil || !controller.Memory(m.Addr, m.Write, m.Data) {
					c.cfg.Bus.Memory(c.cfg.ID, m.Addr, m.Write, m.Data)
				}
			default:
				if controller == nil || !controller.Exit(c, reason) {
					return c.failed(reason)
				}
			}
		case unix.EINTR:
			c.book.Kick()
		case unix.EAGAIN:
			// An application processor between INIT and SIPI has nothing to run yet.
		default:
			return Stop{VCPU: c.cfg.ID, Kind: RunFailed, Detail: fmt.Sprintf("KVM_RUN: %v%s", errno, c.position(nil))}
		}
	}
}
