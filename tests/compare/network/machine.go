package network

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"doorbell/internal/kvm"
	"doorbell/internal/kvmtrace"
	"doorbell/internal/netconf/nettest"
	"doorbell/internal/traffic"
	"doorbell/tests/compare/host"

	"github.com/creack/pty"
)

// machine is a VMM whose guest has called.
type machine struct {
	*traffic.Guest
	arm        *arm
	controller *traffic.Controller
	wire       *nettest.Tap // nil without
	trace      *kvmtrace.Counter
	vmm        *exec.Cmd
	terminal   *os.File
	output     transcript
}

// bootPatience is how long a guest may take until it calls.
const bootPatience = time.Minute

// transcript keeps what a VMM and its guest said.
type transcript struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (t *transcript) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(b)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(t.text.String())
}

// start boots an arm's guest. args are further words for a doorbell's command line.
func start(ctx context.Context, s *host.Setup, a *arm, args ...string) (_ *machine, err error) {
	m := &machine{arm: a}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w\n%s", a.name, err, &m.output)
			m.close()
		}
	}()
	if a.backend == tap {
		if m.wire, err = nettest.NewTap(tapName, tapHost, pairs); err != nil {
			return nil, err
		}
	}
	_, listen := a.controller()
	if m.controller, err = traffic.Listen(netip.AddrPortFrom(listen, 0).String()); err != nil {
		return nil, err
	}
	if m.trace, err = kvmtrace.Start(kvm.HostVendor(), nil); err != nil {
		return nil, err
	}
	argv := append(a.command(s, m.controller.Addr().Port()), args...)
	m.vmm = exec.Command(argv[0], argv[1:]...)
	if m.terminal, err = pty.Start(m.vmm); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, bootPatience, fmt.Errorf("no call within %v", bootPatience))
	defer cancel()
	go func() {
		// It ends with the terminal's other end, also when the VMM does.
		m.terminal.WriteTo(&m.output)
		cancel()
	}()
	if m.Guest, err = m.controller.Accept(ctx); err != nil {
		return nil, err
	}
	return m, nil
}

// pid is the VMM's.
func (m *machine) pid() int { return m.vmm.Process.Pid }

// end has the guest power off and waits for the VMM.
func (m *machine) end(ctx context.Context) error {
	if err := m.End(ctx); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { m.vmm.Process.Kill() })()
	if err := m.vmm.Wait(); err != nil {
		return fmt.Errorf("%s: %w\n%s", m.arm.name, err, &m.output)
	}
	return nil
}

// close gives everything back; a VMM that still runs is ended.
func (m *machine) close() {
	if m.vmm != nil && m.vmm.Process != nil && m.vmm.ProcessState == nil {
		m.vmm.Process.Kill()
		m.vmm.Wait()
	}
	if m.terminal != nil {
		m.terminal.Close()
	}
	if m.trace != nil {
		m.trace.Close()
	}
	if m.controller != nil {
		m.controller.Close()
	}
	if m.wire != nil {
		m.wire.Close()
	}
}
