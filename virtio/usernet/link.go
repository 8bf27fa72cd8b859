package usernet

import (
	"sync/atomic"

	"doorbell/virtio/backend"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// link is the stack's end of the cable: its link endpoint. What the stack sends is put into the ring of a queue.
//
// It tells the stack that it does all checksums: towards the guest by the virtio header or, for a driver that did not accept that,
// in finish; from the guest in inspect.
type link struct {
	network    *Network
	mtu        uint32
	address    tcpip.LinkAddress
	queues     []*queue
	active     atomic.Int32
	offloads   atomic.Uint32 // backend.Offloads to the guest
	steering   atomic.Pointer[backend.Steering]
	flows      flowTable
	dispatcher atomic.Pointer[stack.NetworkDispatcher]
}

var (
	_ stack.LinkEndpoint = (*link)(nil)
	_ stack.GSOEndpoint  = (*link)(nil)
)

// WritePackets implements stack.LinkWriter: for each packet, choose a queue and put it there.
func (l *link) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	for i, p := range list.AsSlice() {
		if err := l.queues[l.choose(p)].send(p); err != nil {
			return i, err
		}
	}
	return list.Len(), nil
}

// choose is the queue for a packet to the guest: as the driver's hash says, or the one on which the guest last sent in this flow.
func (l *link) choose(p *stack.PacketBuffer) int {
	active := int(l.active.Load())
	if active == 1 {
		return 0
	}
	var head [96]byte
	n := copy(head[:], p.LinkHeader().Slice())
	n += copy(head[n:], p.NetworkHeader().Slice())
	n += copy(head[n:], p.TransportHeader().Slice())
	if s := l.steering.Load(); s != nil {
		return int(s.Queue(head[:n])) % active
	}
	return int(l.flows.queue(head[:n])) % active
}

// MTU implements stack.NetworkLinkEndpoint: IP packets, without the Ethernet header.
func (l *link) MTU() uint32 { return l.mtu }

// SetMTU implements stack.NetworkLinkEndpoint. The MTU is the configuration's.
func (*link) SetMTU(uint32) {}

// MaxHeaderLength implements stack.NetworkLinkEndpoint.
func (*link) MaxHeaderLength() uint16 { return header.EthernetMinimumSize }

// LinkAddress implements stack.NetworkLinkEndpoint.
func (l *link) LinkAddress() tcpip.LinkAddress { return l.address }

// SetLinkAddress implements stack.NetworkLinkEndpoint. The gateway's address does not change.
func (*link) SetLinkAddress(tcpip.LinkAddress) {}

// Capabilities implements stack.NetworkLinkEndpoint.
func (*link) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityTXChecksumOffload | stack.CapabilityRXChecksumOffload | stack.CapabilityResolutionRequired
}

// gsoMaxSize is the longest packet that the stack may hand over for segmentation by the guest: IPv4's longest and one.
const gsoMaxSize = 1 << 16

// GSOMaxSize implements stack.GSOEndpoint.
func (*link) GSOMaxSize() uint32 { return gsoMaxSize }

// SupportedGSO implements stack.GSOEndpoint. Connections ask when they are made.
func (l *link) SupportedGSO() stack.SupportedGSO {
	if backend.Offloads(l.offloads.Load())&backend.TSO4 != 0 {
		return stack.HostGSOSupported
	}
	return stack.GVisorGSOSupported
}

// Attach implements stack.NetworkLinkEndpoint.
func (l *link) Attach(d stack.NetworkDispatcher) {
	if d == nil {
		l.dispatcher.Store(nil)
		return
	}
	l.dispatcher.Store(&d)
}

// IsAttached implements stack.NetworkLinkEndpoint.
func (l *link) IsAttached() bool { return l.dispatcher.Load() != nil }

// deliver hands a frame from the guest to the stack.
func (l *link) deliver(p *stack.PacketBuffer) {
	if d := l.dispatcher.Load(); d != nil {
		(*d).DeliverNetworkPacket(p.NetworkProtocolNumber, p)
	}
	p.DecRef()
}

// Wait implements stack.NetworkLinkEndpoint: the link has no goroutines.
func (*link) Wait() {}

// Close implements stack.NetworkLinkEndpoint.
func (*link) Close() {}

// SetOnCloseAction implements stack.NetworkLinkEndpoint.
func (*link) SetOnCloseAction(func()) {}

// ARPHardwareType implements stack.NetworkLinkEndpoint.
func (*link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareEther }

// AddHeader implements stack.NetworkLinkEndpoint.
func (*link) AddHeader(p *stack.PacketBuffer) {
	header.Ethernet(p.LinkHeader().Push(header.EthernetMinimumSize)).Encode(&header.EthernetFields{
		SrcAddr: p.EgressRoute.LocalLinkAddress,
		DstAddr: p.EgressRoute.RemoteLinkAddress,
		Type:    p.NetworkProtocolNumber,
	})
}

// ParseHeader implements stack.NetworkLinkEndpoint.
func (*link) ParseHeader(p *stack.PacketBuffer) bool {
	_, ok := p.LinkHeader().Consume(header.EthernetMinimumSize)
	return ok
}
