package usernet

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"doorbell/virtio/backend"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// handleUDP takes a datagram from the guest for which the stack has no endpoint. It runs on the goroutine that transmits. Where it
// answers false, the stack tells the guest that nobody is there.
func (n *Network) handleUDP(id stack.TransportEndpointID, p *stack.PacketBuffer) bool {
	h := header.UDP(p.TransportHeader().Slice())
	data := p.Data()
	size := int(h.Length()) - header.UDPMinimumSize
	if size < 0 || size > data.Size() {
		n.drops.Add(backend.DropMalformed)
		return true
	}
	var payload []byte
	if size > 0 {
		b, ok := data.PullUp(size)
		if !ok {
			n.drops.Add(backend.DropMalformed)
			return true
		}
		payload = b
	}
	k := flowKey{
		guest:  netip.AddrPortFrom(fromStack(id.RemoteAddress), id.RemotePort),
		remote: netip.AddrPortFrom(fromStack(id.LocalAddress), id.LocalPort),
	}
	f := n.udp.find(k)
	if f == nil {
		dst, ok := n.reach(k.remote)
		if !ok {
			n.drops.Add(backend.DropUnreachable)
			return !networkPrefix.Contains(dst.Addr())
		}
		var why backend.Drop
		if f, why, ok = n.openUDP(k, dst); !ok {
			n.drops.Add(why)
			return why != backend.DropUnreachable
		}
	}
	n.sendUDP(f, payload)
	return true
}

// sendUDP sends a datagram of a flow to the host.
func (n *Network) sendUDP(f *flow, payload []byte) {
	if err := f.send(payload); err != nil && !errors.Is(err, unix.ECONNREFUSED) {
		// A refusal is an answer to an earlier datagram.
		n.drops.Add(hostDrop(err))
	}
}

// openUDP makes the flow for a guest's first datagram.
func (n *Network) openUDP(k flowKey, dst netip.AddrPort) (*flow, backend.Drop, bool) {
	made := false
	f, why, ok := n.udp.add(k, func() (socket, unix.Sockaddr, error) {
		made = true
		c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(dst))
		return c, nil, err
	})
	if ok && made && !n.tasks.start(func() {
		f.pump(func(p []byte) { f.injectUDP(p) })
		n.udp.remove(f)
	}) {
		n.udp.remove(f)
		return nil, backend.DropClosed, false
	}
	return f, why, ok
}

// injectUDP sends a datagram to the guest. The checksum is the link's.
func (f *flow) injectUDP(payload []byte) {
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: f.headerRoom() + header.UDPMinimumSize,
		Payload:            buffer.MakeWithData(payload),
	})
	defer p.DecRef()
	p.TransportProtocolNumber = header.UDPProtocolNumber
	header.UDP(p.TransportHeader().Push(header.UDPMinimumSize)).Encode(&header.UDPFields{
		SrcPort: f.key.remote.Port(),
		DstPort: f.key.guest.Port(),
		Length:  uint16(header.UDPMinimumSize + len(payload)),
	})
	f.toGuest(p, stack.NetworkHeaderParams{Protocol: header.UDPProtocolNumber, TTL: defaultTTL})
}

// defaultTTL is that of packets that start here.
const defaultTTL = 64

func isErrno(err error, e syscall.Errno) bool { return errors.Is(err, e) }
