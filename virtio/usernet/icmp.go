package usernet

import (
	"net/netip"
	"os"
	"time"

	"doorbell/virtio/backend"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// echoIdle ends a flow of echo requests.
const echoIdle = 20 * time.Second

// handleICMP takes the guest's echo requests to others than the stack itself, which answers its own when this returns false. They leave
// through a ping socket: ICMP(7) without privilege, where the host's net.ipv4.ping_group_range allows it.
func (n *Network) handleICMP(_ stack.TransportEndpointID, p *stack.PacketBuffer) bool {
	h := header.ICMPv4(p.TransportHeader().Slice())
	ip := header.IPv4(p.NetworkHeader().Slice())
	if len(h) < header.ICMPv4MinimumSize || len(ip) < header.IPv4MinimumSize || h.Type() != header.ICMPv4Echo {
		return false
	}
	dst := fromStack(ip.DestinationAddress())
	if dst == gatewayAddr || dst == dnsAddr {
		return false
	}
	to, ok := n.reach(netip.AddrPortFrom(dst, 0))
	if !ok {
		n.drops.Add(backend.DropUnreachable)
		return true
	}
	data := p.Data()
	if checksum.Checksum(h, data.Checksum()) != 0xffff {
		n.drops.Add(backend.DropChecksum)
		return true
	}
	k := flowKey{
		guest:  netip.AddrPortFrom(fromStack(ip.SourceAddress()), h.Ident()),
		remote: netip.AddrPortFrom(dst, 0),
	}
	f := n.echo.find(k)
	if f == nil {
		var why backend.Drop
		if f, why, ok = n.openEcho(k, to.Addr()); !ok {
			n.drops.Add(why)
			return true
		}
	}
	buf := relayBuffers.Get().(*[relayBufferLen]byte)
	defer relayBuffers.Put(buf)
	size := copy(buf[:], h)
	if m := data.Size(); m > 0 {
		b, ok := data.PullUp(m)
		if !ok || m > len(buf)-size {
			n.drops.Add(backend.DropMalformed)
			return true
		}
		size += copy(buf[size:], b)
	}
	// The kernel replaces the identifier by the socket's and computes the sum.
	if err := f.send(buf[:size]); err != nil {
		n.drops.Add(hostDrop(err))
	}
	return true
}

// openEcho makes the flow for a guest's first request with an identifier.
func (n *Network) openEcho(k flowKey, to netip.Addr) (*flow, backend.Drop, bool) {
	made := false
	f, why, ok := n.echo.add(k, func() (socket, unix.Sockaddr, error) {
		made = true
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMP)
		if err != nil {
			return nil, nil, err
		}
		if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.As4()}); err != nil {
			_ = unix.Close(fd)
			return nil, nil, err
		}
		return os.NewFile(uintptr(fd), "ping "+to.String()), nil, nil
	})
	if ok && made && !n.tasks.start(func() {
		f.pump(func(p []byte) { f.injectEcho(p) })
		n.echo.remove(f)
	}) {
		n.echo.remove(f)
		return nil, backend.DropClosed, false
	}
	return f, why, ok
}

// injectEcho sends a reply, as the ping socket gave it, to the guest.
func (f *flow) injectEcho(reply []byte) {
	if len(reply) < header.ICMPv4MinimumSize || header.ICMPv4(reply).Type() != header.ICMPv4EchoReply {
		return
	}
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: f.headerRoom() + header.ICMPv4MinimumSize,
		Payload:            buffer.MakeWithData(reply[header.ICMPv4MinimumSize:]),
	})
	defer p.DecRef()
	p.TransportProtocolNumber = header.ICMPv4ProtocolNumber
	h := header.ICMPv4(p.TransportHeader().Push(header.ICMPv4MinimumSize))
	copy(h, reply)
	h.SetIdent(f.key.guest.Port())
	h.SetChecksum(0)
	h.SetChecksum(header.ICMPv4Checksum(h, p.Data().Checksum()))
	f.toGuest(p, stack.NetworkHeaderParams{Protocol: header.ICMPv4ProtocolNumber, TTL: defaultTTL})
}
