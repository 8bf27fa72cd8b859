package netdev

import (
	"doorbell/virtio/backend"
)

// policy is everything that the queues' goroutines are told by the control side. It does not change: a new one replaces it.
type policy struct {
	linkDown bool
	// transmit and receive are the queue pairs that the driver uses in each direction, from the first (section 5.1.6.5.5).
	transmit, receive int

	offloads backend.Offloads // in force for frames to the guest
	// room is the longest frame to expect, its backend header included; limit, if not 0, the longest without segmentation.
	room, limit int
	filter      *filter           // nil accepts everything
	hash        *backend.Steering // what VIRTIO_NET_F_HASH_REPORT reports; nil: nothing
	steer       *backend.Steering // the device steers by it; nil: the backend steers
	relays      relays            // nil until the device has steered
}

// vlanTag is what a VLAN tag adds to an Ethernet header.
const vlanTag = 4

// sizes sets room and limit.
func (p *policy) sizes(mtu int, advised bool) {
	p.room, p.limit = backend.MaxFrame, 0
	if mtu > 0 {
		longest := backend.HeaderLen + backend.EthernetLen + vlanTag + mtu
		if advised {
			p.limit = longest
		}
		if p.offloads&(backend.TSO4|backend.TSO6|backend.USO) == 0 {
			p.room = longest
		}
	}
}

// judge says whether a frame may reach the driver: hdr is the backend's header, head the beginning of the frame behind it, n its length with
// the header. clean says that the header's flags must be cleared first.
func (p *policy) judge(hdr *[backend.HeaderLen]byte, head []byte, n int) (why Drop, ok, clean bool) {
	if p.linkDown {
		return DropLink, false, false
	}
	flags, gso := hdr[0], hdr[1]
	if flags|gso != 0 {
		if p.offloads&backend.Checksum == 0 {
			if flags&backend.FlagNeedsCsum != 0 {
				return DropOffload, false, false
			}
			clean = flags != 0
		}
		if gso != backend.GSONone && !p.segments(gso) {
			return DropOffload, false, false
		}
	}
	if gso&^backend.GSOECN == backend.GSONone && p.limit > 0 && n > p.limit {
		return DropTooLong, false, false
	}
	if p.filter != nil && !p.filter.accepts(head) {
		return DropFilter, false, false
	}
	return 0, true, clean
}

// segments says whether the driver takes frames of this gso_type.
func (p *policy) segments(gso byte) bool {
	need := backend.Offloads(0)
	switch gso &^ backend.GSOECN {
	case backend.GSOTCPv4:
		need = backend.TSO4
	case backend.GSOTCPv6:
		need = backend.TSO6
	case backend.GSOUDPL4:
		need = backend.USO
	default:
		return false
	}
	if gso&backend.GSOECN != 0 {
		need |= backend.ECN
	}
	return p.offloads&need == need
}
