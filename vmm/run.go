package vmm

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"doorbell/internal/guestreport"
	"doorbell/internal/kvm"
	"doorbell/internal/kvmtrace"
	"doorbell/irqchip"
	"doorbell/vcpu"
)

// End is how a run ended.
type End string

// The ends of a run.
const (
	PoweredOff End = "powered off"
	Reset      End = "reset"   // the guest asked for a reset; doorbell does not start it again
	Crashed    End = "crashed" // a triple fault, a kernel panic, an instruction that KVM cannot emulate, ...
	Stopped    End = "stopped" // the caller ended it
	Exited     End = "exited"  // the guest wrote to the test devices' exit port
)

// ending is a reason to end the run.
type ending struct {
	end    End
	reason string
	status int // of Exited
}

// end asks for the run's end. Any thread may call it, a device on a vCPU's own too; the first reason wins. The vCPUs stop at
// once: what a guest does while it waits for its power-off to happen belongs to nobody's account.
func (m *Machine) end(e End, format string, args ...any) {
	m.endWith(ending{end: e, reason: fmt.Sprintf(format, args...)})
}

func (m *Machine) endWith(e ending) {
	select {
	case m.ended <- e:
		for _, c := range m.cpus {
			c.Stop()
		}
	default:
	}
}

// NMI presses the machine's NMI button, which is wired to LINT1 of every local APIC. Any thread may call it while the guest runs.
func (m *Machine) NMI() {
	for _, c := range m.cpus {
		c.NMI()
	}
}

// Result is what a run left behind.
type Result struct {
	End          End
	Reason       string // one line
	Status       int    // of Exited: what the guest chose, (value << 1) | 1
	Account      Account
	Agent        *guestreport.Report // what the guest's agent reported; nil if it did not
	AgentMissing string              // why not
}

// How long the console's last output may take to be written: to a reader that is slow, and when the user wants to leave.
const (
	drainTime = 5 * time.Second
	leaveTime = 2 * time.Second
)

// Run lets the guest run until it powers off, resets, crashes, or ctx ends.
func (m *Machine) Run(ctx context.Context) (*Result, error) {
	// What loading the kernel needed goes back to the host before the guest's own memory grows.
	debug.FreeOSMemory()
	trace, traceErr := m.startTrace()
	if trace != nil {
		defer trace.Close()
	}
	watch, watchErr := m.watchInterrupts()
	if watch != nil {
		defer watch.Close()
	}
	notified, _ := irqchip.Notifications() // the account says so if they cannot be read
	m.agent.listen(m)
	if m.cfg.Input != nil {
		go m.feedSerial()
	}
	m.phase("guest entered")
	stopped := make(chan vcpu.Stop, len(m.cpus))
	for _, c := range m.cpus {
		c.Run()
		go func() { stopped <- <-c.Stopped() }()
	}

	var e ending
	left := 0
	for e.end == "" {
		select {
		case e = <-m.ended:
		case s := <-stopped:
			left++
			select {
			case e = <-m.ended: // the vCPU left because of it
			default:
				e = fromStop(s)
			}
		case <-m.cfg.NMI:
			m.NMI()
		case <-ctx.Done():
			e = ending{end: Stopped, reason: fmt.Sprintf("stopped by %v", context.Cause(ctx))}
		}
	}
	m.phase(string(e.end))
	m.leave(e, stopped, left)
	if line, ok := m.watch.panicked(); ok && e.end != Stopped {
		e = ending{end: Crashed, reason: "the guest's kernel panicked: " + line}
	}
	posting := irqchip.NewPosting(m.chip.Name())
	res := m.result(e, posting, trace, traceErr)
	var counts *kvmtrace.InterruptCounts
	if watch != nil {
		c, err := watch.Read()
		counts, watchErr = &c, err
	}
	a := &res.Account
	a.Interrupts = m.interrupts(a, counts, watchErr)
	a.Posting = postingAccount(posting, notified, counts)
	a.attribute(posting)
	return res, nil
}

// fromStop judges a vCPU that left its loop on its own.
func fromStop(s vcpu.Stop) ending {
	switch {
	case s.Kind == vcpu.SystemReset:
		return ending{end: Reset, reason: s.String()}
	case s.Kind == vcpu.SystemOff:
		return ending{end: PoweredOff, reason: s.String()}
	}
	return ending{end: Crashed, reason: s.String()}
}

// leave takes every vCPU out of the guest, of which left are out already, and writes out what the guest printed last.
func (m *Machine) leave(e ending, stopped <-chan vcpu.Stop, left int) {
	for _, c := range m.cpus {
		c.Stop()
	}
	patience := drainTime
	if e.end == Stopped {
		patience = leaveTime
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	// First the console: a vCPU may be waiting for its reader, and no kick ends that.
	if err := m.serial.Close(ctx); err != nil {
		m.cfg.Log("console: %v", err)
	}
	m.watch.stop()
	for ; left < len(m.cpus); left++ {
		m.cfg.Log("%v", <-stopped) // where a guest was that seemed to hang
	}
}

// watchInterrupts counts what KVM's local APICs do, if that is asked for, or if a device is passed through: what its interrupts cost is what people want
// to know of it.
func (m *Machine) watchInterrupts() (*kvmtrace.Interrupts, error) {
	if !m.cfg.Vectors && m.vfio == nil || m.chip.Name() == irqchip.UserName {
		return nil, nil
	}
	return kvmtrace.StartInterrupts(m.tids())
}

// tids are the vCPUs' threads.
func (m *Machine) tids() []int {
	tids := make([]int, len(m.cpus))
	for i, c := range m.cpus {
		tids[i] = c.TID()
	}
	return tids
}

// startTrace counts exits by hardware reason, where the host lets us.
func (m *Machine) startTrace() (*kvmtrace.Counter, error) {
	return kvmtrace.Start(kvm.HostVendor(), m.tids())
}

// feedSerial types what Input has until it ends. It may outlive the run when Input never ends.
func (m *Machine) feedSerial() {
	buf := make([]byte, 4096)
	for {
		n, err := m.cfg.Input.Read(buf)
		if n > 0 {
			if _, werr := m.serial.Input(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// residency is the process's resident memory at a moment, with the guest's share.
type residency struct {
	when       string
	rss, guest uint64
	err        error
}

func (m *Machine) residency(when string) residency {
	r := residency{when: when}
	if r.guest, r.err = m.memory.ResidentBytes(); r.err != nil {
		return r
	}
	r.rss, r.err = selfRSS()
	return r
}

// selfRSS is this process's resident set, from /proc/self/status, in bytes.
func selfRSS() (uint64, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for _, l := range strings.Split(string(b), "\n") {
		var kb uint64
		if n, _ := fmt.Sscanf(l, "VmRSS: %d kB", &kb); n == 1 {
			return kb << 10, nil
		}
	}
	return 0, fmt.Errorf("/proc/self/status has no VmRSS")
}

// result draws up the account. Every vCPU has left the guest.
func (m *Machine) result(e ending, posting irqchip.Posting, trace *kvmtrace.Counter, traceErr error) *Result {
	m.agent.receive(m) // what the guest sent last
	userspaceAt, rss, agent, missing := m.agent.result()
	r := &Result{End: e.end, Reason: e.reason, Status: e.status, Agent: agent, AgentMissing: missing}
	a := &r.Account
	*a = Account{
		VCPUs: m.cfg.VCPUs, MemoryBytes: m.cfg.Memory, IRQChip: m.chip.Name(), Kernel: m.plan.Kernel.Format, Cmdline: m.cfg.Cmdline,
		End: string(e.end), EndReason: e.reason, UserspaceExits: m.ledger.Accesses(), Lines: m.ledger.Lines(),
	}
	if m.net != nil {
		a.Net = m.net.account(m.cfg.VCPUs, posting, m.chip.TableChanges())
	}
	if m.vfio != nil {
		a.VFIO = m.vfio.account(m.cfg.VCPUs, posting)
	}
	m.phaseMu.Lock()
	a.Phases = append(a.Phases, m.phases...)
	m.phaseMu.Unlock()
	if userspaceAt > 0 {
		s := userspaceAt.Seconds()
		a.BootToUserspaceS = &s
	} else {
		rss = m.residency("end")
		a.missing("boot_to_userspace_s", missing)
	}
	if rss.err != nil {
		a.missing("rss_bytes", rss.err.Error())
	} else {
		beyond := rss.rss - min(rss.guest, rss.rss)
		a.RSSBytes, a.GuestResidentBytes, a.RSSBeyondGuestBytes, a.RSSWhen = &rss.rss, &rss.guest, &beyond, rss.when
	}
	for i := range m.cpus {
		a.Kicks += m.ledger.VCPU(i).Kicks()
		if queued, masked := m.ledger.VCPU(i).NMIs(); queued+masked > 0 {
			a.NMIs = append(a.NMIs, NMIRow{i, queued, masked})
		}
	}
	m.phaseMu.Lock()
	a.KVMStats = readStats(m.stats())
	m.phaseMu.Unlock()
	traced, lost, err := readTrace(trace, traceErr)
	if err != nil {
		a.missing("exits_by_hardware_reason", err.Error())
	}
	a.countExits(a.KVMStats, traced, lost, m.ledger)
	return r
}

func readTrace(c *kvmtrace.Counter, err error) (kvmtrace.Exits, uint64, error) {
	if err != nil {
		return nil, 0, err
	}
	return c.Read()
}
