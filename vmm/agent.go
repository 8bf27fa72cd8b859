package vmm

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"doorbell/guest/memory"
	"doorbell/internal/device/mailbox"
	"doorbell/internal/guestreport"
	"doorbell/internal/kvm"
	"doorbell/internal/ledger"

	"golang.org/x/sys/unix"
)

// userspacePhase is the phase that the agent announces with its first instructions.
const userspacePhase = "userspace"

// maxAgentPhases bounds what a guest can add to the time line.
const maxAgentPhases = 64

// agentChannel is the host's side of the agent's mailbox: shared memory, and a doorbell that wakes one goroutine. Its fields
// below mu belong to whoever holds it.
type agentChannel struct {
	shared *memory.Memory
	port   *mailbox.Port
	bell   *os.File      // the eventfd, non-blocking: the runtime's poller waits for it
	served chan struct{} // closed when the listener has ended; nil before it started

	mu          sync.Mutex
	spoke       bool
	userspaceAt time.Duration // since the machine's creation; 0 before
	residency   residency     // at userspace
	phases      int
	report      *guestreport.Report
	failure     error
}

// createAgentChannel puts the mailbox into guest memory. Its doorbell is an ioeventfd where KVM has them: ringing it does
// not reach userspace.
func (m *Machine) createAgentChannel() error {
	a := &agentChannel{}
	m.agent = a
	var err error
	if a.shared, err = memory.New(mailbox.SharedSize); err != nil {
		return fmt.Errorf("mailbox: %w", err)
	}
	ram := a.shared.Regions()[0].Host
	if err := m.vm.SetUserMemory(mailboxSlot, 0, mailbox.SharedBase, ram); err != nil {
		return fmt.Errorf("mailbox: %w", err)
	}
	if a.port, err = mailbox.NewHost(ram); err != nil {
		return err
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("mailbox eventfd: %w", err)
	}
	a.bell = os.NewFile(uintptr(fd), "mailbox doorbell")
	if m.caps.Value(kvm.CapIOEventFD) > 0 {
		if err := m.vm.IOEventFD(kvm.IOEvent{Addr: mailbox.Base + mailbox.DoorbellOffset, Length: mailbox.DoorbellWidth}, fd); err != nil {
			return fmt.Errorf("mailbox: %w", err)
		}
	}
	// One row for the page: a guest has no business with its other 1023 words.
	return m.bus.add("mailbox", ledger.Memory, mailbox.Base, mailbox.PageSize, mailbox.PageSize, mailbox.NewRegisters(a.ring))
}

// mailboxSlot is the KVM memory slot of the mailbox's shared RAM; guest memory has 0 and 1.
const mailboxSlot = 2

// ring wakes the listener. It is what the doorbell does where it is no ioeventfd.
func (a *agentChannel) ring() {
	one := [8]byte{1}
	_, _ = a.bell.Write(one[:])
}

// listen serves the agent until the channel is closed.
func (a *agentChannel) listen(m *Machine) {
	a.served = make(chan struct{})
	go func() {
		defer close(a.served)
		var count [8]byte
		for {
			if _, err := a.bell.Read(count[:]); err != nil {
				return
			}
			a.receive(m)
		}
	}()
}

// receive takes every message that is there.
func (a *agentChannel) receive(m *Machine) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.failure == nil {
		msg, ok, err := a.port.Receive()
		if err != nil {
			a.failure = err
			return
		}
		if !ok {
			return
		}
		a.spoke = true
		a.take(m, msg)
	}
}

func (a *agentChannel) take(m *Machine, msg mailbox.Message) {
	switch msg.Type {
	case mailbox.Phase:
		name := clean(msg.Payload)
		if a.phases++; a.phases > maxAgentPhases {
			return
		}
		if name == userspacePhase && a.userspaceAt == 0 {
			a.userspaceAt = time.Since(m.start)
			a.residency = m.residency(userspacePhase)
		}
		if m.net != nil {
			m.net.remember()
		}
		m.phase("guest: " + name)
	case mailbox.Report:
		r, err := parseReport(msg.Payload, m.cfg.VCPUs)
		if err != nil {
			a.failure = fmt.Errorf("the agent's report: %w", err)
			return
		}
		a.report = r
	case mailbox.Log:
		m.cfg.Log("guest agent: %s", clean(msg.Payload))
	}
}

// A report's size: what its fixed parts and each CPU's columns may take. An honest one needs a tenth of it. A hostile one is
// kept from growing: a byte of JSON can become a hundred in memory.
const (
	reportBase   = 128 << 10
	reportPerCPU = 4 << 10
)

// parseReport reads an agent's report, and refuses one that a guest with this many vCPUs cannot have meant.
func parseReport(b []byte, vcpus int) (*guestreport.Report, error) {
	if limit := reportBase + vcpus*reportPerCPU; len(b) > limit {
		return nil, fmt.Errorf("%d bytes; a guest with %d vCPUs needs less than %d", len(b), vcpus, limit)
	}
	r := new(guestreport.Report)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, err
	}
	for _, s := range []*guestreport.Snapshot{&r.Before, &r.After} {
		columns := max(len(s.Interrupts.CPUs), len(s.Softirqs.CPUs), len(s.Stat.CPUs))
		for _, row := range s.Interrupts.Rows {
			columns = max(columns, len(row.PerCPU))
		}
		for _, row := range s.Softirqs.Rows {
			columns = max(columns, len(row.PerCPU))
		}
		if columns > vcpus {
			return nil, fmt.Errorf("%d CPUs in a guest with %d vCPUs", columns, vcpus)
		}
	}
	return r, nil
}

// clean makes one short line of printable text of what a guest sent.
func clean(p []byte) string {
	const limit = 200
	s := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(p[:min(len(p), limit)]), "?"))
	return strings.TrimSpace(s)
}

// result is what the agent said, and where it said nothing, why.
func (a *agentChannel) result() (at time.Duration, rss residency, r *guestreport.Report, missing string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.failure != nil:
		missing = a.failure.Error()
	case !a.spoke:
		missing = "no doorbell agent in the guest spoke"
	case a.report == nil:
		missing = "the guest ended before its agent reported"
	}
	return a.userspaceAt, a.residency, a.report, missing
}

// close ends the listener.
func (a *agentChannel) close() error {
	var errs []error
	if a.port != nil {
		a.port.Close()
	}
	if a.bell != nil {
		errs = append(errs, a.bell.Close())
	}
	if a.served != nil {
		<-a.served // it must not look at memory that is gone
	}
	if a.shared != nil {
		errs = append(errs, a.shared.Close())
	}
	return errors.Join(errs...)
}
