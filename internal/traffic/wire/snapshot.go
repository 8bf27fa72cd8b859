package wire

import (
	"doorbell/internal/guestreport"
	"doorbell/internal/netconf"
)

// A Snapshot is the guest's counters and its card's settings at one moment.
type Snapshot struct {
	guestreport.Snapshot
	Interface string `json:"interface"`
	MTU       int    `json:"mtu_bytes"`
	Driver    string `json:"driver,omitempty"`
	// VirtioFeatures are the feature bits that the driver negotiated, as it says itself; 0 for a card that is not virtio's.
	VirtioFeatures uint64 `json:"virtio_features,omitempty"`
	// Link is what the kernel counted, Stats what the driver did.
	Link  netconf.Statistics `json:"link"`
	Stats []netconf.Stat     `json:"stats,omitempty"`
	// Queues are those in use.
	Queues   []Queue    `json:"queues,omitempty"`
	Affinity []Affinity `json:"affinity,omitempty"`
	// What follows is nil where the driver does not know it; Refused says why.
	Channels   *netconf.Channels `json:"channels,omitempty"`
	Rings      *netconf.Rings    `json:"rings,omitempty"`
	Coalesce   *netconf.Coalesce `json:"coalesce,omitempty"`
	Polling    *netconf.Polling  `json:"polling,omitempty"`
	Features   []netconf.Feature `json:"features,omitempty"`
	RSS        *netconf.RSS      `json:"rss,omitempty"`
	HashFields map[string]string `json:"hash_fields,omitempty"`
	Refused    []string          `json:"refused,omitempty"`
}

// A Queue is an entry of /sys/class/net/X/queues.
type Queue struct {
	Name string `json:"name"` // rx-0, tx-3
	// CPUs are those whose packets it takes (xps_cpus), or that take its packets (rps_cpus), as the kernel's bit mask.
	CPUs string `json:"cpus,omitempty"`
}

// Affinity is where a numbered interrupt may go, and where it goes, as lists of CPUs.
type Affinity struct {
	IRQ       string `json:"irq"`
	Name      string `json:"name"`
	Allowed   string `json:"allowed"`
	Effective string `json:"effective"`
}

// Since returns s with only what was counted after before was taken; settings are those of s.
func (s *Snapshot) Since(before *Snapshot) Snapshot {
	d := *s
	d.Snapshot = s.Snapshot.Since(&before.Snapshot)
	earlier := make(map[string]uint64, len(before.Stats))
	for _, v := range before.Stats {
		earlier[v.Name] = v.Value
	}
	d.Stats = make([]netconf.Stat, len(s.Stats))
	for i, v := range s.Stats {
		d.Stats[i] = netconf.Stat{Name: v.Name, Value: v.Value - min(v.Value, earlier[v.Name])}
	}
	after, was := statistics(&d.Link), statistics(&before.Link)
	for i, v := range after {
		*v -= min(*v, *was[i])
	}
	return d
}

// Counter returns a counter of the driver's, 0 where there is none of the name.
func (s *Snapshot) Counter(name string) uint64 {
	for _, v := range s.Stats {
		if v.Name == name {
			return v.Value
		}
	}
	return 0
}

// Feature says whether an offload is active.
func (s *Snapshot) Feature(name string) bool {
	for _, f := range s.Features {
		if f.Name == name {
			return f.Active
		}
	}
	return false
}

func statistics(s *netconf.Statistics) []*uint64 {
	return []*uint64{&s.RxPackets, &s.TxPackets, &s.RxBytes, &s.TxBytes, &s.RxErrors, &s.TxErrors, &s.RxDropped, &s.TxDropped, &s.Multicast}
}
