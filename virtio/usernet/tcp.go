package usernet

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"doorbell/virtio/backend"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	// smallTCPBuffer bounds what a connection holds in each direction, unless it is one of Limits.LargeTCP.
	smallTCPBuffer = 128 << 10
	// largeTCPBuffer is what the others may grow to; they start with initialTCPBuffer.
	largeTCPBuffer   = 4 << 20
	initialTCPBuffer = 1 << 20

	// dialTimeout ends an attempt that the host's network leaves unanswered.
	dialTimeout = 30 * time.Second
	// timeWait is short: behind this stack is no network in which a segment could be late.
	timeWait = 2 * time.Second
	// keepalive asks a silent guest whether it is still there; one that was reset answers with a reset.
	keepalive = 2 * time.Minute
)

// tuneTCP sets the stack's options for a link that is memory.
func (n *Network) tuneTCP() error {
	send := tcpip.TCPSendBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: initialTCPBuffer, Max: largeTCPBuffer}
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: initialTCPBuffer, Max: largeTCPBuffer}
	moderate := tcpip.TCPModerateReceiveBufferOption(true)
	sack := tcpip.TCPSACKEnabled(true)
	wait := tcpip.TCPTimeWaitTimeoutOption(timeWait)
	for _, o := range []tcpip.SettableTransportProtocolOption{&send, &receive, &moderate, &sack, &wait} {
		if err := n.stack.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return stackError("TCP option", err)
		}
	}
	return nil
}

// tcpTable holds the connections that exist, so that they can be counted and ended.
type tcpTable struct {
	mu    sync.Mutex // guards what follows
	all   map[*relay]struct{}
	count int // connections, those still being made included
	large int // of these, with large buffers
	limit Limits
	ended bool
}

func (t *tcpTable) init(l Limits) { t.all, t.limit = map[*relay]struct{}{}, l }

// reserve takes a place for a connection and says whether it may have large buffers. release gives it back.
func (t *tcpTable) reserve() (large, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended || t.count >= t.limit.TCP {
		return false, false
	}
	t.count++
	if t.large < t.limit.LargeTCP {
		t.large++
		large = true
	}
	return large, true
}

func (t *tcpTable) release(large bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count--
	if large {
		t.large--
	}
}

// len is the number of connections, those still being made included.
func (t *tcpTable) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}

// add makes a connection known to abortAll; it reports false if that has happened already.
func (t *tcpTable) add(r *relay) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return false
	}
	t.all[r] = struct{}{}
	return true
}

func (t *tcpTable) remove(r *relay) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, r)
}

// abortAll resets every connection and allows no new ones.
func (t *tcpTable) abortAll() {
	t.mu.Lock()
	t.ended = true
	all := t.all
	t.all = nil
	t.mu.Unlock()
	for r := range all {
		r.abort()
	}
}

// acceptTCP answers a guest's SYN: it opens the host's socket first, then the guest's connection. The stack runs it on a
// goroutine of its own, and not more than Limits.Pending at a time.
func (n *Network) acceptTCP(r *tcp.ForwarderRequest) {
	if !n.tasks.enter() {
		r.Complete(false)
		return
	}
	defer n.tasks.leave()
	id := r.ID()
	dst, ok := n.reach(netip.AddrPortFrom(fromStack(id.LocalAddress), id.LocalPort))
	if !ok {
		n.drops.Add(backend.DropUnreachable)
		r.Complete(true)
		return
	}
	large, ok := n.tcp.reserve()
	if !ok {
		n.drops.Add(backend.DropLimit)
		r.Complete(true)
		return
	}
	defer n.tcp.release(large)
	dialer := net.Dialer{Timeout: dialTimeout, KeepAlive: -1}
	c, err := dialer.DialContext(n.tasks.ctx, "tcp4", dst.String())
	if err != nil {
		// Refused, unreachable or silent: the guest sees a refusal.
		n.drops.Add(n.dialDrop(err))
		r.Complete(true)
		return
	}
	host := c.(*net.TCPConn)
	g := &guestConn{large: large}
	ep, terr := r.CreateEndpoint(&g.wq)
	r.Complete(false)
	if terr != nil {
		resetHost(host)
		return
	}
	g.ep = ep
	n.relay(host, g)
}

// dialDrop is the reason for which a guest's connection is refused when the host's dial fails with err.
func (n *Network) dialDrop(err error) backend.Drop {
	var timeout net.Error
	switch {
	case n.tasks.ctx.Err() != nil:
		return backend.DropClosed
	case errors.As(err, &timeout) && timeout.Timeout():
		return backend.DropUnreachable
	}
	return hostDrop(err)
}

// dialGuest connects to a port of the guest from the gateway.
func (n *Network) dialGuest(to netip.AddrPort, large bool) (*guestConn, tcpip.Error) {
	g := &guestConn{large: large}
	ep, err := n.stack.NewEndpoint(tcp.ProtocolNumber, protocolIPv4, &g.wq)
	if err != nil {
		return nil, err
	}
	g.ep = ep
	entry, done := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventErr | waiter.EventHUp)
	g.wq.EventRegister(&entry)
	defer g.wq.EventUnregister(&entry)
	err = ep.Bind(tcpip.FullAddress{Addr: toStack(gatewayAddr)})
	if err == nil {
		err = ep.Connect(tcpip.FullAddress{NIC: nic, Addr: toStack(to.Addr()), Port: to.Port()})
	}
	if _, started := err.(*tcpip.ErrConnectStarted); started {
		timeout := time.NewTimer(dialTimeout)
		defer timeout.Stop()
		select {
		case <-done:
			err = ep.LastError()
		case <-timeout.C:
			err = &tcpip.ErrTimeout{}
		case <-n.tasks.ctx.Done():
			err = &tcpip.ErrAborted{}
		}
	}
	if err != nil {
		ep.Abort()
		return nil, err
	}
	return g, nil
}
