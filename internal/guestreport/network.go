package guestreport

// Network is what became of the guest's network card before the workload.
type Network struct {
	Interface string `json:"interface,omitempty"`
	Driver    string `json:"driver,omitempty"`
	MAC       string `json:"mac,omitempty"`
	MTU       int    `json:"mtu_bytes,omitempty"`
	// Source says where the address is from: "dhcp" or "static".
	Source string `json:"source,omitempty"`
	// Address has the length of its network's prefix: 10.0.2.15/24.
	Address string   `json:"address,omitempty"`
	Gateway string   `json:"gateway,omitempty"`
	DNS     []string `json:"dns,omitempty"`
	// QueuePairs are in use, of QueuePairsMax that the card has; 0 where the driver does not say.
	QueuePairs    int `json:"queue_pairs,omitempty"`
	QueuePairsMax int `json:"queue_pairs_max,omitempty"`
	// DurationNs is how long all of it took, by the guest's clock.
	DurationNs int64 `json:"duration_ns"`
	// Error is why the card has no address; empty otherwise.
	Error string `json:"error,omitempty"`
}

// A FetchResult is one HTTP transfer.
type FetchResult struct {
	URL string `json:"url"`
	// Status is HTTP's: 200.
	Status     int    `json:"http_status"`
	Bytes      uint64 `json:"bytes"`
	SHA256     string `json:"sha256"`
	DurationNs int64  `json:"duration_ns"`
}

// A PingResult is a run of echo requests. The times are the guest's, of the answers in the order of the requests.
type PingResult struct {
	Address  string  `json:"address"`
	Sent     int     `json:"sent"`
	Received int     `json:"received"`
	RTTsNs   []int64 `json:"rtts_ns,omitempty"`
}
