package vmm

import (
	"doorbell/internal/pci"
	"doorbell/irqchip"
	"doorbell/virtio"
	"doorbell/virtio/netdev"
	"doorbell/virtio/tap"
)

// NetAccount is what the network card did.
type NetAccount struct {
	Backend      string            `json:"backend"`
	MAC          string            `json:"mac"`
	IO           string            `json:"io"`
	QueuePairs   int               `json:"queue_pairs"`
	ActivePairs  int               `json:"active_queue_pairs"` // that the driver used last for receiving
	Offered      []string          `json:"features_offered"`
	Off          []string          `json:"features_off"` // that were asked not to be offered
	Features     []string          `json:"features"`     // negotiated last; null if no driver came so far
	Ring         *string           `json:"ring"`         // split or packed, by these; null if no driver came so far
	Steering     string            `json:"steering"`
	RouteChanges uint64            `json:"routing_table_changes"` // by all devices
	NeedsReset   bool              `json:"needs_reset"`
	Queues       []QueueRow        `json:"queues"`
	Vectors      []VectorRow       `json:"vectors"`
	BehindDrops  map[string]uint64 `json:"drops_behind_queues"` // by the backend, where no queue can be named
	Events       []EventRow        `json:"events"`              // what was wrong with the driver or the wiring
}

// QueueRow is the account of one virtqueue.
type QueueRow struct {
	Queue        string            `json:"queue"`
	Vector       *int              `json:"vector"` // null: none
	Kicks        uint64            `json:"kicks"`
	KicksAvoided uint64            `json:"kicks_avoided"` // buffers that came without a kick of their own: suppressed, or given together
	Buffers      uint64            `json:"buffers"`
	Packets      uint64            `json:"packets"`
	Bytes        uint64            `json:"bytes"`
	Batches      uint64            `json:"batches"`
	Interrupts   uint64            `json:"interrupts"`
	Suppressed   uint64            `json:"interrupts_suppressed"` // batches that the driver did not want to hear of
	Coalesced    uint64            `json:"interrupts_coalesced"`  // put off by notification coalescing
	Drops        map[string]uint64 `json:"drops"`
}

// VectorRow is the account of one MSI-X vector.
type VectorRow struct {
	Vector      int    `json:"vector"`
	Queue       string `json:"queue"` // that uses it, or "config"
	Fired       uint64 `json:"fired"`
	Suppressed  uint64 `json:"suppressed"` // not fired since the driver did not want to hear of a batch
	Masked      uint64 `json:"masked"`     // firings that found it masked
	Coalesced   uint64 `json:"coalesced"`  // of these, merged into one that was pending
	Refired     uint64 `json:"refired"`    // of these, delivered when it was unmasked
	Unmaskings  uint64 `json:"unmaskings"`
	Routings    uint64 `json:"routings"`
	Undelivered uint64 `json:"undeliverable_routes"`
	Live        bool   `json:"live"` // at the end
	Address     uint64 `json:"msi_address"`
	Data        uint32 `json:"msi_data"`
	VCPU        *int   `json:"vcpu"`       // the destination, where it is one vCPU
	IDTVector   *uint8 `json:"idt_vector"` // in that vCPU's interrupt descriptor table
	Message     string `json:"message"`    // the same decoded, for people

	// Posted says that nothing keeps KVM from posting it to a running vCPU, without an exit; WhyNotPosted is what does.
	Posted       bool    `json:"posted"`
	WhyNotPosted *string `json:"why_not_posted"`
	// ExitsPerIRQ is what an interrupt of it cost, where KVM's controllers were watched.
	ExitsPerIRQ *float64 `json:"exits_per_irq"`
}

// account reads the card's counts. The guest does not run any more.
func (n *netCard) account(vcpus int, posting irqchip.Posting, routeChanges uint64) *NetAccount {
	state := n.state()
	offered, negotiated := n.transport.Features()
	a := &NetAccount{
		Backend: state.Backend, MAC: state.MAC.String(), IO: state.IO.String(), QueuePairs: state.Pairs, ActivePairs: state.ReceivePairs,
		Offered: netdev.FeatureNames(offered), Off: netdev.FeatureNames(n.off), Features: netdev.FeatureNames(negotiated), Ring: ringFormat(negotiated),
		Steering: state.RSS.Mode.String(), RouteChanges: routeChanges, NeedsReset: n.transport.NeedsReset(),
		BehindDrops: n.backend.Drops().ByReason(), Events: n.events.list(),
	}
	// An interface that was deleted, or is down, at the end: what it lost is not the guest's doing.
	if t, ok := n.backend.(*tap.Tap); ok {
		if w := t.Warning(); w != "" {
			a.Events = append(a.Events, EventRow{w, 1})
		}
	}
	users, suppressed := map[int]string{0: "config"}, map[int]uint64{}
	for i := range n.transport.NumQueues() {
		row := n.queue(i)
		if row.Queue == "" {
			continue
		}
		if row.Vector != nil {
			users[*row.Vector] = row.Queue
			suppressed[*row.Vector] += row.Suppressed
		}
		a.Queues = append(a.Queues, row)
	}
	for _, v := range n.transport.MSIX().Stats() {
		row := vectorRow(v, users[v.Vector], vcpus)
		why := "the guest has not used it"
		if v.Routings > 0 {
			why = posting.WhyNot(v.Message)
		}
		if why != "" {
			row.WhyNotPosted = &why
		} else {
			row.Posted = true
		}
		row.Suppressed = suppressed[v.Vector]
		a.Vectors = append(a.Vectors, row)
	}
	return a
}

// ringFormat is what the queues are laid out as under a set of negotiated features.
func ringFormat(negotiated uint64) *string {
	if negotiated == 0 {
		return nil
	}
	format := "split"
	if negotiated&virtio.FeatureRingPacked != 0 {
		format = "packed"
	}
	return &format
}

func (n *netCard) queue(i int) QueueRow {
	q, d := n.transport.QueueStats(i), n.device.QueueStats(i)
	row := QueueRow{
		Queue: n.device.QueueName(i), Kicks: q.Kicks.Load(), KicksAvoided: q.KicksAvoided(), Buffers: q.Chains.Load(), Packets: d.Packets.Load(),
		Bytes: d.Bytes.Load(), Batches: q.Batches.Load(), Interrupts: q.Interrupts.Load(), Suppressed: q.Suppressed.Load(),
		Coalesced: d.Coalesced.Load(), Drops: d.Drops.ByReason(),
	}
	if v, ok := n.transport.QueueVector(i); ok {
		row.Vector = &v
	}
	if i/2 < n.backend.Queues() {
		lost := &n.backend.Queue(i / 2).Counters().ToGuest.Drops
		if i%2 == 1 {
			lost = &n.backend.Queue(i / 2).Counters().FromGuest.Drops
		}
		for why, count := range lost.ByReason() {
			row.Drops["backend_"+why] = count
		}
	}
	return row
}

func vectorRow(v pci.VectorStats, queue string, vcpus int) VectorRow {
	row := VectorRow{
		Vector: v.Vector, Queue: queue, Fired: v.Fired, Masked: v.Masked, Coalesced: v.Coalesced, Refired: v.Refired, Unmaskings: v.Unmaskings,
		Routings: v.Routings, Undelivered: v.Undelivered, Live: v.Live, Address: v.Message.Address, Data: v.Message.Data,
	}
	i, ok := v.Message.Interrupt()
	if !ok {
		return row
	}
	row.Message = i.String()
	// A physical destination, or a logical one of a single processor in the flat model that Linux sets up for up to eight of them: a bit for each.
	cpu := int(i.Destination)
	if i.Logical {
		cpu = singleBit(i.Destination)
	}
	if cpu >= 0 && cpu < vcpus {
		row.VCPU, row.IDTVector = &cpu, &i.Vector
	}
	return row
}

// singleBit is the number of the only bit that is set, or -1.
func singleBit(v uint32) int {
	for b := range 32 {
		if v == 1<<b {
			return b
		}
	}
	return -1
}
