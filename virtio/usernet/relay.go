package usernet

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const protocolIPv4 = ipv4.ProtocolNumber

// guestConn is the guest's half of a connection, as the stack has it.
type guestConn struct {
	ep    tcpip.Endpoint
	wq    waiter.Queue
	large bool
}

// relay joins a connection of the guest with one of the host. Two goroutines carry its data, one in each direction; each waits for
// the side that is slower, and so slows the other.
type relay struct {
	host  *net.TCPConn
	guest *guestConn
	once  sync.Once
	// hostEnded is set before the guest is told that the host sends no more.
	hostEnded atomic.Bool
	watch     waiter.Entry // calls NotifyEvent
}

// relayBuffers are borrowed while data passes, not while a connection is idle.
var relayBuffers = sync.Pool{New: func() any { return new([relayBufferLen]byte) }}

const relayBufferLen = 64 << 10

// relay carries a connection until both directions have ended.
func (n *Network) relay(host *net.TCPConn, guest *guestConn) {
	r := &relay{host: host, guest: guest}
	if !n.tcp.add(r) {
		r.abort()
		return
	}
	defer n.tcp.remove(r)
	guest.tune()
	_ = host.SetNoDelay(true)
	r.watch.Init(r, waiter.EventErr|waiter.EventHUp)
	guest.wq.EventRegister(&r.watch)
	defer guest.wq.EventUnregister(&r.watch)
	r.NotifyEvent(0) // of what came before
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.toHost()
	}()
	r.toGuest()
	<-done
	// Both ends have seen the other's end by now, or a reset.
	r.guest.ep.Close()
	_ = r.host.Close()
}

// tune sets the options of a new connection with the guest.
func (g *guestConn) tune() {
	o := g.ep.SocketOptions()
	o.SetDelayOption(false)
	o.SetKeepAlive(true)
	idle := tcpip.KeepaliveIdleOption(keepalive)
	_ = g.ep.SetSockOpt(&idle)
	if !g.large {
		o.SetSendBufferSize(smallTCPBuffer, true)
		o.SetReceiveBufferSize(smallTCPBuffer, true)
	}
}

// resetGrace is how long the host may take what the guest sent before it reset the connection.
const resetGrace = time.Second

// NotifyEvent implements waiter.EventListener. Where the guest has reset the connection, it ends the waiting for the host, as both
// goroutines may be doing, and a host that neither reads nor sends would never end. They abort when their deadline has passed: the stack
// calls with locks held that abort needs.
func (r *relay) NotifyEvent(waiter.EventMask) {
	if r.guestReset() {
		_ = r.host.SetDeadline(time.Now().Add(resetGrace))
	}
}

// guestReset reports whether the guest's connection ended otherwise than by the end of both directions. After the end of the guest's
// alone, a reset closes the endpoint without an error.
func (r *relay) guestReset() bool {
	switch tcp.EndpointState(r.guest.ep.State()) {
	case tcp.StateError:
		return true
	case tcp.StateClose:
		return !r.hostEnded.Load()
	}
	return false
}

// abort resets both ends; the goroutines notice.
func (r *relay) abort() {
	r.once.Do(func() {
		resetHost(r.host)
		r.guest.ep.Abort()
	})
}

// resetHost closes a socket of the host with a reset.
func resetHost(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// toHost carries what the guest sends.
func (r *relay) toHost() {
	entry, readable := waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventErr | waiter.EventHUp)
	r.guest.wq.EventRegister(&entry)
	defer r.guest.wq.EventUnregister(&entry)
	for {
		buf := relayBuffers.Get().(*[relayBufferLen]byte)
		w := tcpip.SliceWriter(buf[:])
		res, terr := r.guest.ep.Read(&w, tcpip.ReadOptions{})
		var err error
		if terr == nil {
			if r.guest.large {
				r.guest.ep.ModerateRecvBuf(res.Count)
			}
			_, err = r.host.Write(buf[:res.Count])
		}
		relayBuffers.Put(buf)
		switch terr.(type) {
		case nil:
			if err != nil {
				r.abort()
				return
			}
		case *tcpip.ErrWouldBlock:
			<-readable
		case *tcpip.ErrClosedForReceive:
			_ = r.host.CloseWrite()
			return
		default:
			r.abort()
			return
		}
	}
}

// toGuest carries what the host sends.
func (r *relay) toGuest() {
	entry, writable := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventErr | waiter.EventHUp)
	r.guest.wq.EventRegister(&entry)
	defer r.guest.wq.EventUnregister(&entry)
	in, err := newReader(r.host)
	if err != nil {
		r.abort()
		return
	}
	var payload bytes.Reader
	for {
		buf, n, err := in.next()
		if err == nil {
			payload.Reset(buf[:n])
			for payload.Len() > 0 {
				_, terr := r.guest.ep.Write(&payload, tcpip.WriteOptions{})
				if _, full := terr.(*tcpip.ErrWouldBlock); full {
					<-writable
				} else if terr != nil {
					err = errGuestGone
					break
				}
			}
			payload.Reset(nil)
			relayBuffers.Put(buf)
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			r.hostEnded.Store(true)
			r.guest.ep.Shutdown(tcpip.ShutdownWrite)
			return
		default:
			r.abort()
			return
		}
	}
}

var errGuestGone = errors.New("the guest's connection has ended")

// reader reads from a socket of the host into a buffer that it borrows once there is data.
type reader struct {
	raw interface {
		Read(func(uintptr) bool) error
	}
	ready func(fd uintptr) bool
	buf   *[relayBufferLen]byte
	n     int
	err   error
}

func newReader(c *net.TCPConn) (*reader, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	r := &reader{raw: raw}
	r.ready = r.tryRead // made once: a method value allocates
	return r, nil
}

// tryRead reports whether waiting is over: data, the end, or an error.
func (r *reader) tryRead(fd uintptr) bool {
	r.buf = relayBuffers.Get().(*[relayBufferLen]byte)
	for {
		r.n, r.err = unix.Read(int(fd), r.buf[:])
		if r.err != unix.EINTR {
			break
		}
	}
	if r.err == nil && r.n > 0 {
		return true
	}
	relayBuffers.Put(r.buf)
	r.buf = nil
	if r.err == nil {
		r.err = io.EOF
	}
	return r.err != unix.EAGAIN
}

// next waits for data. The buffer is the caller's, who puts it back; there is none with an error.
func (r *reader) next() (*[relayBufferLen]byte, int, error) {
	if err := r.raw.Read(r.ready); err != nil {
		return nil, 0, err
	}
	return r.buf, r.n, r.err
}
