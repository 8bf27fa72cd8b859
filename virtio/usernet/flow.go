package usernet

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"doorbell/virtio/backend"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// flowKey names a flow by its two ends as the guest sees them. An echo flow has the request's identifier as the guest's port, and
// 0 as the other.
type flowKey struct{ guest, remote netip.AddrPort }

// flow carries datagrams between the guest and a socket of the host.
type flow struct {
	key  flowKey
	last atomic.Int64 // when something passed, in nanoseconds of the Unix epoch
	// ended is for who keeps the flow without the table.
	ended atomic.Bool

	// The socket. It is the flow's own, and connected, if to is nil; otherwise a forwarded port's, and to is the client.
	socket socket
	raw    syscall.RawConn
	to     unix.Sockaddr

	sendMu sync.Mutex // guards what is out on its way to the host
	out    []byte
	outErr error
	write  func(fd uintptr) bool // sends out; made once, as a function value per datagram would be garbage

	routeMu sync.Mutex   // guards the route's use against its release
	route   *stack.Route // back to the guest; nil once the flow has ended
}

// socket is what a *net.UDPConn and an *os.File have in common.
type socket interface {
	SyscallConn() (syscall.RawConn, error)
	Close() error
}

// flows are the flows of one protocol.
type flows struct {
	net   *Network
	limit int
	idle  time.Duration
	mu    sync.RWMutex // guards what follows; held for reading by each datagram
	table map[flowKey]*flow
	ended bool
}

func (t *flows) init(n *Network, limit int, idle time.Duration) {
	t.net, t.limit, t.idle, t.table = n, limit, idle, map[flowKey]*flow{}
}

func (t *flows) find(k flowKey) *flow {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.table[k]
}

// add makes a flow, with the socket that open returns, unless there is one already. Its errors are a reason to drop.
func (t *flows) add(k flowKey, open func() (socket, unix.Sockaddr, error)) (*flow, backend.Drop, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := t.table[k]; f != nil {
		return f, 0, true
	}
	switch {
	case t.ended:
		return nil, backend.DropClosed, false
	case len(t.table) >= t.limit:
		return nil, backend.DropLimit, false
	}
	route, terr := t.net.stack.FindRoute(nic, toStack(k.remote.Addr()), toStack(k.guest.Addr()), protocolIPv4, false)
	if terr != nil {
		return nil, backend.DropUnreachable, false
	}
	s, to, err := open()
	if err != nil {
		route.Release()
		return nil, hostDrop(err), false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		route.Release()
		if to == nil {
			_ = s.Close()
		}
		return nil, backend.DropHost, false
	}
	f := &flow{key: k, socket: s, raw: raw, to: to, route: route}
	f.write = f.tryWrite
	f.touch()
	t.table[k] = f
	return f, 0, true
}

// hostDrop is the reason for which a packet is lost when the host answers with err.
func hostDrop(err error) backend.Drop {
	switch {
	case isErrno(err, unix.EACCES), isErrno(err, unix.EPERM):
		return backend.DropRefused
	case isErrno(err, unix.ENETUNREACH), isErrno(err, unix.EHOSTUNREACH), isErrno(err, unix.ECONNREFUSED):
		return backend.DropUnreachable
	case isErrno(err, unix.EMFILE), isErrno(err, unix.ENFILE):
		return backend.DropLimit
	}
	return backend.DropHost
}

func (f *flow) touch() { f.last.Store(time.Now().UnixNano()) }

// send sends a datagram to the host without waiting. The goroutine is the one that transmits for the guest.
func (f *flow) send(p []byte) error {
	f.touch()
	f.sendMu.Lock()
	defer f.sendMu.Unlock()
	f.out = p
	err := f.raw.Write(f.write)
	f.out = nil
	if err != nil {
		return err
	}
	return f.outErr
}

func (f *flow) tryWrite(fd uintptr) bool {
	if f.to == nil {
		f.outErr = unix.Send(int(fd), f.out, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	} else {
		f.outErr = unix.Sendto(int(fd), f.out, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, f.to)
	}
	return true
}

// pump hands what the host sends in a flow with a socket of its own to inject, until the flow ends.
func (f *flow) pump(inject func(p []byte)) {
	_ = f.raw.Read(func(fd uintptr) bool {
		buf := relayBuffers.Get().(*[relayBufferLen]byte)
		defer relayBuffers.Put(buf)
		for {
			n, err := unix.Read(int(fd), buf[:])
			switch err {
			case nil:
				f.touch()
				inject(buf[:n])
			case unix.EAGAIN:
				return false // wait for more; the buffer goes back meanwhile
			case unix.EINTR, unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EMSGSIZE:
				// An ICMP message about an earlier datagram; the flow goes on.
			default:
				return true
			}
		}
	})
}

// toGuest sends a packet through the flow's route, if there still is one.
func (f *flow) toGuest(p *stack.PacketBuffer, params stack.NetworkHeaderParams) {
	f.routeMu.Lock()
	defer f.routeMu.Unlock()
	if f.route != nil {
		// A failure is a full queue, which the link has counted.
		_ = f.route.WritePacket(params, p)
	}
}

// headerRoom is how much a packet to the guest must reserve for the headers below its own protocol's.
func (f *flow) headerRoom() int {
	f.routeMu.Lock()
	defer f.routeMu.Unlock()
	if f.route == nil {
		return 0
	}
	return int(f.route.MaxHeaderLength())
}

// end releases what the flow has. The flow is no longer in the table.
func (f *flow) end() {
	f.ended.Store(true)
	if f.to == nil {
		_ = f.socket.Close()
	}
	f.routeMu.Lock()
	defer f.routeMu.Unlock()
	if f.route != nil {
		f.route.Release()
		f.route = nil
	}
}

// remove ends one flow.
func (t *flows) remove(f *flow) {
	t.mu.Lock()
	if t.table[f.key] == f {
		delete(t.table, f.key)
	}
	t.mu.Unlock()
	f.end()
}

// expire ends the flows that have been idle.
func (t *flows) expire(now time.Time) {
	oldest := now.Add(-t.idle).UnixNano()
	var idle []*flow
	t.mu.Lock()
	for k, f := range t.table {
		if f.last.Load() < oldest {
			idle = append(idle, f)
			delete(t.table, k)
		}
	}
	t.mu.Unlock()
	for _, f := range idle {
		f.end()
	}
}

// closeAll ends all flows and allows no new ones.
func (t *flows) closeAll() {
	t.mu.Lock()
	t.ended = true
	all := t.table
	t.table = nil
	t.mu.Unlock()
	for _, f := range all {
		f.end()
	}
}

// len is the number of flows.
func (t *flows) len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.table)
}
