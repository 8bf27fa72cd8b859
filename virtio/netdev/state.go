package netdev

import (
	"net"
	"slices"

	"doorbell/virtio/backend"
)

// State is the device as reports show it.
type State struct {
	Backend  string
	Active   bool     // the driver is there
	Offered  []string // feature names
	Features []string // negotiated

	MAC        net.HardwareAddr
	MTU        int // 0 is unknown
	Link       bool
	Announcing bool // the driver has been asked to announce itself and has not yet answered
	IO         IOMode

	Pairs         int // in all
	ReceivePairs  int // that the driver uses
	TransmitPairs int
	Offloads      backend.Offloads // in force for frames to the guest
	Filter        FilterState
	RSS           RSSState
	// Coalescing is in force, by queue; the control queue's is always zero.
	Coalescing []Coalescing
}

// FilterState is what the driver wants to receive.
type FilterState struct {
	Addresses, Tagged                  bool // what is filtered at all
	Modes                              Modes
	Unicast, Multicast                 []net.HardwareAddr
	UnicastOverflow, MulticastOverflow bool
	VLANs                              []uint16
}

// RSSState is receive-side scaling and hash reports.
type RSSState struct {
	On           bool // an indirection table is in force
	Mode         SteeringMode
	Report       bool   // frames come with their hash
	Types        uint32 // hash types in force, for either
	Indirection  []uint16
	Unclassified uint16
}

// State is a copy of the device's present state.
func (d *Device) State() State {
	d.mu.Lock()
	defer d.mu.Unlock()
	status := d.status.Load()
	s := State{
		Backend: d.cfg.Backend.String(), Active: d.active, Offered: FeatureNames(d.offered), Features: FeatureNames(d.features),
		MAC: address(d.mac.Load()).bytes(), MTU: d.mtu, Link: status&statusLinkUp != 0, Announcing: status&statusAnnounce != 0, IO: d.cfg.IO,
		Pairs: d.pairs, ReceivePairs: d.receive, TransmitPairs: d.transmit, Offloads: guestOffloads(d.offloads),
		Filter: FilterState{
			Addresses: d.features&FeatureCtrlRx != 0, Tagged: d.features&FeatureCtrlVLAN != 0, Modes: d.filter.modes,
			Unicast: addresses(d.filter.unicast.sorted), Multicast: addresses(d.filter.multicast.sorted),
			UnicastOverflow: d.filter.unicast.overflow, MulticastOverflow: d.filter.multicast.overflow, VLANs: d.filter.vlans.list(),
		},
		RSS: RSSState{On: d.steering != nil, Mode: d.mode, Report: d.features&FeatureHashReport != 0},
	}
	if d.hash != nil {
		s.RSS.Types = d.hash.Types()
	}
	if d.steering != nil {
		s.RSS.Indirection, s.RSS.Unclassified = slices.Clone(d.steering.Table()), d.steering.Unclassified()
	}
	for i := range d.coalescing {
		s.Coalescing = append(s.Coalescing, d.coalescing[i].load())
	}
	return s
}

func addresses(list []address) (out []net.HardwareAddr) {
	for _, a := range list {
		out = append(out, a.bytes())
	}
	return out
}
