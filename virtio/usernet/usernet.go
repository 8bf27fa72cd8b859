package usernet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"time"

	"doorbell/virtio/backend"

	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// nic is the stack's only interface.
const nic tcpip.NICID = 1

// Network is user-mode networking for one device.
type Network struct {
	cfg   Config
	link  *link
	stack *stack.Stack
	drops backend.Drops
	tasks tasks
	// reach is onHost, except in tests that send at random and must not reach anybody.
	reach func(netip.AddrPort) (netip.AddrPort, bool)
	tcp   tcpTable
	udp   flows
	echo  flows
	dns   resolver
	dhcp  leases

	listeners []*listener
	closing   sync.Once
}

var _ backend.Backend = (*Network)(nil)

// quiet keeps the stack's log, to which a guest can make it write, away from the process's standard error.
var quiet = sync.OnceFunc(func() { log.SetTarget(&log.GoogleEmitter{Writer: &log.Writer{Next: io.Discard}}) })

// New makes a network and opens the forwarded ports. On failure nothing stays behind.
func New(cfg Config) (*Network, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	quiet()
	n := &Network{cfg: cfg, reach: onHost, link: &link{mtu: uint32(cfg.MTU), address: tcpip.LinkAddress(gatewayMAC)}}
	n.link.network = n
	n.link.active.Store(1)
	for i := range cfg.Queues {
		q := &queue{link: n.link, index: uint32(i), gate: backend.NewGate(), ring: newRing(cfg.Limits.QueueFrames, cfg.Limits.QueueBytes)}
		q.delayed.init(q.flush)
		n.link.queues = append(n.link.queues, q)
	}
	n.tasks.init()
	n.tcp.init(cfg.Limits)
	n.udp.init(n, cfg.Limits.UDP, cfg.Limits.UDPIdle)
	n.echo.init(n, cfg.Limits.Echo, echoIdle)
	n.dns.init(n)
	n.dhcp.init(cfg.MAC)
	if err := n.start(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// start builds the stack and what listens in it.
func (n *Network) start() error {
	n.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
	})
	if err := n.tuneTCP(); err != nil {
		return err
	}
	if err := n.stack.CreateNIC(nic, n.link); err != nil {
		return stackError("interface", err)
	}
	for _, a := range []netip.Addr{gatewayAddr, dnsAddr} {
		pa := tcpip.ProtocolAddress{
			Protocol:          ipv4.ProtocolNumber,
			AddressWithPrefix: tcpip.AddressWithPrefix{Address: toStack(a), PrefixLen: networkPrefix.Bits()},
		}
		if err := n.stack.AddProtocolAddress(nic, pa, stack.AddressProperties{}); err != nil {
			return stackError("address "+a.String(), err)
		}
	}
	// Accept packets for, and send packets from, every address that the guest wants to talk with.
	if err := n.stack.SetPromiscuousMode(nic, true); err != nil {
		return stackError("interface", err)
	}
	if err := n.stack.SetSpoofing(nic, true); err != nil {
		return stackError("interface", err)
	}
	n.stack.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}})
	forwarder := tcp.NewForwarder(n.stack, smallTCPBuffer, n.cfg.Limits.Pending, n.acceptTCP)
	n.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, forwarder.HandlePacket)
	n.stack.SetTransportProtocolHandler(udp.ProtocolNumber, n.handleUDP)
	n.stack.SetTransportProtocolHandler(icmp.ProtocolNumber4, n.handleICMP)
	for _, f := range []func() error{n.startDHCP, n.startDNS, n.startForwards} {
		if err := f(); err != nil {
			return err
		}
	}
	n.tasks.start(n.expire)
	return nil
}

// expireInterval is how often idle flows are looked for.
const expireInterval = 5 * time.Second

// expire ends idle flows until the network is closed.
func (n *Network) expire() {
	t := time.NewTicker(expireInterval)
	defer t.Stop()
	for {
		select {
		case now := <-t.C:
			n.udp.expire(now)
			n.echo.expire(now)
		case <-n.tasks.ctx.Done():
			return
		}
	}
}

// Close implements backend.Backend: end connections and flows, then the stack, then the queues.
func (n *Network) Close() error {
	n.closing.Do(func() {
		n.tasks.stop()
		for _, l := range n.listeners {
			l.close()
		}
		n.tcp.abortAll()
		n.udp.closeAll()
		n.echo.closeAll()
		n.dns.close()
		// Nobody may be in the stack with a frame while it is taken apart.
		for _, q := range n.link.queues {
			q.gate.Close()
		}
		n.dhcp.close()
		n.stack.Close()
		n.tasks.wait()
		n.stack.Wait()
		for _, q := range n.link.queues {
			q.close()
		}
	})
	return nil
}

// String implements backend.Backend.
func (*Network) String() string { return "user" }

// Queues implements backend.Backend.
func (n *Network) Queues() int { return len(n.link.queues) }

// Queue implements backend.Backend.
func (n *Network) Queue(i int) backend.Queue { return n.link.queues[i] }

// MTU implements backend.Backend.
func (n *Network) MTU() int { return n.cfg.MTU }

// offloads are what the network can do in both directions.
const offloads = backend.Checksum | backend.TSO4 | backend.ECN

// Offloads implements backend.Backend.
func (*Network) Offloads() (fromGuest, toGuest backend.Offloads) {
	return offloads, offloads
}

// SetOffloads implements backend.Backend.
func (n *Network) SetOffloads(toGuest backend.Offloads) error {
	if extra := toGuest &^ offloads; extra != 0 {
		return fmt.Errorf("user-mode networking: offload %v to the guest is not offered", extra)
	}
	n.link.offloads.Store(uint32(toGuest.Consistent()))
	return nil
}

// SetActive implements backend.Backend.
func (n *Network) SetActive(pairs int) error {
	if pairs < 1 || pairs > len(n.link.queues) {
		return fmt.Errorf("user-mode networking: %d active queue pairs of %d", pairs, len(n.link.queues))
	}
	n.link.active.Store(int32(pairs))
	return nil
}

// SetSteering implements backend.Backend.
func (n *Network) SetSteering(s *backend.Steering) error {
	n.link.steering.Store(s)
	return nil
}

// Drops implements backend.Backend: connections and datagrams that reached the stack and went no further.
func (n *Network) Drops() *backend.Drops { return &n.drops }

// tasks are the network's goroutines.
type tasks struct {
	ctx    context.Context
	cancel context.CancelFunc
	mu     sync.Mutex // orders start against stop
	ended  bool
	group  sync.WaitGroup
}

func (t *tasks) init() { t.ctx, t.cancel = context.WithCancel(context.Background()) }

// enter counts the calling goroutine in, unless the network is closing. leave must follow.
func (t *tasks) enter() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return false
	}
	t.group.Add(1)
	return true
}

func (t *tasks) leave() { t.group.Done() }

// start runs f on a goroutine, unless the network is closing.
func (t *tasks) start(f func()) bool {
	if !t.enter() {
		return false
	}
	go func() {
		defer t.leave()
		f()
	}()
	return true
}

func (t *tasks) stop() {
	t.mu.Lock()
	t.ended = true
	t.mu.Unlock()
	t.cancel()
}

func (t *tasks) wait() { t.group.Wait() }

// toStack converts an IPv4 address to the stack's form.
func toStack(a netip.Addr) tcpip.Address { return tcpip.AddrFrom4(a.As4()) }

// fromStack converts the stack's form of an IPv4 address.
func fromStack(a tcpip.Address) netip.Addr { return netip.AddrFrom4(a.As4()) }

// stackError is a failure of the stack as a Go error.
func stackError(what string, err tcpip.Error) error {
	return fmt.Errorf("user-mode networking: %s: %s", what, err)
}

// onHost is where the host is asked for a destination of the guest's: the gateway is the host's loopback. It reports false for
// addresses that lead nowhere.
func onHost(to netip.AddrPort) (netip.AddrPort, bool) {
	switch a := to.Addr(); {
	case a == gatewayAddr:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), to.Port()), true
	case networkPrefix.Contains(a), a.IsLoopback(), a.IsMulticast(), a.IsUnspecified(), a.As4()[0] == 255, a.As4()[0] == 0:
		return to, false
	}
	return to, true
}

// errorPause keeps a loop over a failing call from spinning.
const errorPause = 50 * time.Millisecond

// pause waits a little, and reports false when the network is closing.
func (n *Network) pause() bool {
	t := time.NewTimer(errorPause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-n.tasks.ctx.Done():
		return false
	}
}
