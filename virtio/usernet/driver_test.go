package usernet

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"doorbell/virtio/backend"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// guest is a second TCP/IP stack behind the backend's queues: what a driver and its kernel would be.
type guest struct {
	link
	t        testing.TB
	backend  backend.Backend
	offloads backend.Offloads
	trusting bool // takes what the header says about checksums for granted, as a driver may; for measurements
	stack    *stack.Stack
	sendMu   []sync.Mutex
	raw      []([backend.HeaderLen]byte)
	gsoSeen  atomic.Bool // a frame longer than the MTU came
	stop     chan struct{}
	group    sync.WaitGroup
}

const guestMAC = tcpip.LinkAddress("\x52\x54\x00\x12\x34\x56")

// newGuest starts a guest with the given offloads on n, which it does not close.
func newGuest(t testing.TB, n backend.Backend, offloads backend.Offloads, trusting bool) *guest {
	t.Helper()
	g := &guest{t: t, backend: n, offloads: offloads, trusting: trusting, stop: make(chan struct{})}
	g.mtu, g.address = uint32(n.MTU()), guestMAC
	g.sendMu = make([]sync.Mutex, n.Queues())
	g.raw = make([]([backend.HeaderLen]byte), n.Queues())
	if err := n.SetOffloads(offloads); err != nil {
		t.Fatal(err)
	}
	if err := n.SetActive(n.Queues()); err != nil {
		t.Fatal(err)
	}
	g.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
	})
	sack := tcpip.TCPSACKEnabled(true)
	g.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &sack)
	wait := tcpip.TCPTimeWaitTimeoutOption(timeWait)
	g.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &wait)
	if err := g.stack.CreateNIC(nic, g); err != nil {
		t.Fatal(err)
	}
	g.stack.AddProtocolAddress(nic, tcpip.ProtocolAddress{
		Protocol:          ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: toStack(guestAddr), PrefixLen: 24},
	}, stack.AddressProperties{})
	g.stack.SetRouteTable([]tcpip.Route{
		{Destination: tcpip.AddressWithPrefix{Address: toStack(guestAddr), PrefixLen: 24}.Subnet(), NIC: nic},
		{Destination: header.IPv4EmptySubnet, NIC: nic, Gateway: toStack(gatewayAddr)},
	})
	for i := range n.Queues() {
		g.group.Add(1)
		go g.pump(i)
	}
	return g
}

func (g *guest) close() {
	g.stack.Close()
	close(g.stop)
	g.group.Wait()
	g.stack.Wait()
}

// Capabilities implements stack.NetworkLinkEndpoint.
func (g *guest) Capabilities() (c stack.LinkEndpointCapabilities) {
	if g.offloads&backend.Checksum != 0 {
		c |= stack.CapabilityTXChecksumOffload
	}
	if g.trusting {
		c |= stack.CapabilityRXChecksumOffload
	}
	return c | stack.CapabilityResolutionRequired
}

// SupportedGSO implements stack.GSOEndpoint.
func (g *guest) SupportedGSO() stack.SupportedGSO {
	if g.offloads&backend.TSO4 != 0 {
		return stack.HostGSOSupported
	}
	return stack.GSONotSupported
}

// WritePackets implements stack.LinkWriter: the driver's transmit function.
func (g *guest) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	for _, p := range list.AsSlice() {
		q := int(p.Hash) % len(g.sendMu)
		g.sendMu[q].Lock()
		var h backend.Header
		head := append([]byte(nil), p.LinkHeader().Slice()...)
		head = append(head, p.NetworkHeader().Slice()...)
		head = append(head, p.TransportHeader().Slice()...)
		if g.offloads&backend.Checksum != 0 && p.NetworkProtocolNumber == header.IPv4ProtocolNumber {
			g.partial(&h, head, p.Data().Size())
		}
		if p.GSOOptions.Type == stack.GSOTCPv4 && p.Data().Size() > int(p.GSOOptions.MSS) {
			h.GSOType, h.GSOSize, h.HdrLen = backend.GSOTCPv4, p.GSOOptions.MSS, uint16(len(head))
		}
		h.Put(&g.raw[q])
		frame := [][]byte{g.raw[q][:], head}
		views, skip := p.AsViewList()
		skip += len(head)
		for v := views.Front(); v != nil; v = v.Next() {
			b := v.AsSlice()
			m := min(skip, len(b))
			frame, skip = append(frame, b[m:]), skip-m
		}
		g.backend.Queue(q).Transmit(frame)
		g.sendMu[q].Unlock()
	}
	return list.Len(), nil
}

// partial leaves the transport checksum to the device.
func (g *guest) partial(h *backend.Header, head []byte, data int) {
	ip := header.IPv4(head[14:])
	l4 := 14 + int(ip.HeaderLength())
	field := map[uint8]int{6: 16, 17: 6}[ip.Protocol()]
	if field == 0 || len(head) <= l4 {
		return
	}
	h.Flags, h.CsumStart, h.CsumOffset = backend.FlagNeedsCsum, uint16(l4), uint16(field)
	sum := header.PseudoHeaderChecksum(ip.TransportProtocol(), ip.SourceAddress(), ip.DestinationAddress(), uint16(len(head)-l4+data))
	binary.BigEndian.PutUint16(head[l4+field:], sum)
}

// pump is the driver's receiving side, with page-sized buffers as a driver with VIRTIO_NET_F_MRG_RXBUF posts them.
func (g *guest) pump(i int) {
	defer g.group.Done()
	q := g.backend.Queue(i)
	came := make(chan struct{}, 1)
	q.Notify(func() {
		select {
		case came <- struct{}{}:
		default:
		}
	})
	var bufs [][]byte
	for range 17 {
		bufs = append(bufs, make([]byte, 4096))
	}
	for {
		n := q.Receive(bufs)
		if n == 0 {
			select {
			case <-came:
				continue
			case <-g.stop:
				return
			}
		}
		g.receive(bufs, n)
	}
}

// receive checks a frame's header and hands the frame to the guest's stack.
func (g *guest) receive(bufs [][]byte, n int) {
	var raw [backend.HeaderLen]byte
	backend.Gather(raw[:], bufs, 0)
	var h backend.Header
	h.Get(&raw)
	v := buffer.NewView(n)
	skip := backend.HeaderLen
	for left := n - backend.HeaderLen; left > 0; bufs = bufs[1:] {
		m := min(left, len(bufs[0])-skip)
		v.Write(bufs[0][skip : skip+m])
		left, skip = left-m, 0
	}
	frame := v.AsSlice()
	if h.NumBuffers != 1 {
		g.t.Errorf("num_buffers %d", h.NumBuffers)
	}
	if len(frame) > int(g.mtu)+14 {
		g.gsoSeen.Store(true)
		if h.GSOType != backend.GSOTCPv4 || h.GSOSize == 0 || int(h.GSOSize) > int(g.mtu)-40 || g.offloads&backend.TSO4 == 0 {
			g.t.Errorf("a frame of %d bytes with header %+v and offloads %v", len(frame), h, g.offloads)
		}
	}
	if h.Flags&backend.FlagNeedsCsum != 0 {
		if g.offloads&backend.Checksum == 0 {
			g.t.Errorf("a partial checksum without the offload")
		}
		if !g.trusting {
			// An independent computation, which the stack then verifies.
			var sum uint32
			for i, b := range frame[h.CsumStart:] {
				if i%2 == 0 {
					sum += uint32(b) << 8
				} else {
					sum += uint32(b)
				}
				sum = sum>>16 + sum&0xffff
			}
			binary.BigEndian.PutUint16(frame[h.CsumStart+h.CsumOffset:], ^uint16(sum>>16+sum&0xffff))
		}
	}
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithView(v)})
	eth, _ := p.LinkHeader().Consume(header.EthernetMinimumSize)
	p.NetworkProtocolNumber = header.Ethernet(eth).Type()
	p.PktType = packetType(header.Ethernet(eth).DestinationAddress(), guestMAC)
	g.deliver(p)
}

// at is an address for the guest's sockets.
func at(a netip.Addr, port int) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nic, Addr: toStack(a), Port: uint16(port)}
}

// port is the port of a socket of the host.
func port(a net.Addr) int { return int(netip.MustParseAddrPort(a.String()).Port()) }

// newNetwork makes a network that the test closes.
func newNetwork(t testing.TB, cfg Config) *Network {
	t.Helper()
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}
