package wire

import (
	"errors"
	"fmt"

	"doorbell/internal/guestreport"
	"doorbell/internal/netconf"
)

// Version is the protocol's.
const Version = 1

// MaxMessage is how long a line may be: a snapshot of a machine with thousands of interrupt lines fits.
const MaxMessage = 4 << 20

// A Kind says what a message is.
type Kind string

// The kinds. Those of the guest:
const (
	KindHello  Kind = "hello"  // Hello
	KindReady  Kind = "ready"  // ID, Port: the task listens, or its datagrams may come
	KindResult Kind = "result" // ID, Result or Error
)

// Those of the controller:
const (
	KindTask   Kind = "task"   // ID, Task
	KindSent   Kind = "sent"   // ID, Sent: all datagrams are on their way
	KindCancel Kind = "cancel" // ID: an answer is no longer wanted
)

// A Message is one line.
type Message struct {
	Kind   Kind    `json:"kind"`
	ID     uint64  `json:"id,omitempty"`
	Hello  *Hello  `json:"hello,omitempty"`
	Task   *Task   `json:"task,omitempty"`
	Result *Result `json:"result,omitempty"`
	Port   uint16  `json:"port,omitempty"`
	Sent   uint64  `json:"sent,omitempty"`
	Error  string  `json:"error,omitempty"`
}

// Hello is how a guest introduces itself.
type Hello struct {
	Version   int    `json:"version"`
	Kernel    string `json:"kernel"`
	CPUs      int    `json:"cpus"`
	Interface string `json:"interface,omitempty"` // that the control connection goes through
}

// A Task is one thing to do: exactly one field is set.
type Task struct {
	Stream     *Stream     `json:"stream,omitempty"`
	RoundTrips *RoundTrips `json:"round_trips,omitempty"`
	Packets    *Packets    `json:"packets,omitempty"`
	Snapshot   *Empty      `json:"snapshot,omitempty"`
	Configure  *Configure  `json:"configure,omitempty"`
	Resolve    *Resolve    `json:"resolve,omitempty"`
	Ping       *Ping       `json:"ping,omitempty"`
	Fetch      *Fetch      `json:"fetch,omitempty"`
	End        *Empty      `json:"end,omitempty"`
}

// Empty is a task without parameters.
type Empty struct{}

// Result answers a task; it has the field that belongs to the task, or none where there is nothing to say.
type Result struct {
	Flows    []Flow                   `json:"flows,omitempty"`
	Snapshot *Snapshot                `json:"snapshot,omitempty"`
	Resolved *Resolved                `json:"resolved,omitempty"`
	Ping     *guestreport.PingResult  `json:"ping,omitempty"`
	Fetch    *guestreport.FetchResult `json:"fetch,omitempty"`
}

// A Flow is what the guest saw of one connection or socket.
type Flow struct {
	LocalPort uint16 `json:"local_port"`
	Bytes     uint64 `json:"bytes"`
	// Packets are datagrams, or round trips. Those received are counted once.
	Packets    uint64 `json:"packets,omitempty"`
	Duplicates uint64 `json:"duplicates,omitempty"`
	Reordered  uint64 `json:"reordered,omitempty"`
	// Digest is over the payload, as the task asked.
	Digest string `json:"digest,omitempty"`
	// VoluntarySwitches are how often the thread of a flow of datagrams went to sleep.
	VoluntarySwitches uint64 `json:"voluntary_context_switches,omitempty"`
	// DurationNs is from the first byte to the last, by the guest's clock.
	DurationNs int64 `json:"duration_ns"`
}

// Resolve asks for the IPv4 addresses of a name.
type Resolve struct {
	Name string `json:"name"`
	// Server is ADDRESS:PORT; empty for those of the guest's own configuration.
	Server string `json:"server,omitempty"`
}

// Resolved is the answer.
type Resolved struct {
	Addresses  []string `json:"addresses"`
	DurationNs int64    `json:"duration_ns"`
}

// Ping asks for echo requests, one after the other.
type Ping struct {
	Host      string `json:"host"`
	Count     int    `json:"count"`
	Bytes     int    `json:"bytes"`
	TimeoutNs int64  `json:"timeout_ns"` // for each answer
}

// Fetch asks for an HTTP transfer.
type Fetch struct {
	URL string `json:"url"`
}

// Configure changes what is set in it, in the order of the fields; the answer is a snapshot.
type Configure struct {
	// Interface is empty for the one that the control connection goes through.
	Interface   string                      `json:"interface,omitempty"`
	MTU         int                         `json:"mtu_bytes,omitempty"`
	Combined    int                         `json:"combined,omitempty"`
	Rings       *netconf.Rings              `json:"rings,omitempty"` // the maxima in it do not count
	Features    map[string]bool             `json:"features,omitempty"`
	Coalesce    *netconf.Coalesce           `json:"coalesce,omitempty"`
	PerQueue    map[string]netconf.Coalesce `json:"per_queue,omitempty"` // by the number of the queue pair
	RSS         *netconf.RSS                `json:"rss,omitempty"`
	HashFields  map[string]string           `json:"hash_fields,omitempty"`  // letters by type of flow
	IRQAffinity map[string]string           `json:"irq_affinity,omitempty"` // CPU lists by Linux interrupt number
	RPS         map[string]string           `json:"rps_cpus,omitempty"`     // CPU masks by receive queue, as netconf.SetRPS takes them
	Polling     *netconf.Polling            `json:"polling,omitempty"`
	CPUs        []int                       `json:"cpus,omitempty"` // that all of the agent's threads may run on; those of flows may have one of their own
}

// Limits of tasks.
const (
	MaxFlows      = 256
	MaxBytes      = 1 << 44
	MaxChunk      = 4 << 20
	MaxDatagram   = 65507
	MaxPackets    = 1 << 24 // of a flow: a receiver keeps a bit for each
	MaxRoundTrips = 1 << 30
	MaxPings      = 1000
	maxText       = 2000
)

// Check refuses a task that is none, or more than this side wants to do.
func (t *Task) Check() error {
	if t == nil {
		return errors.New("no task")
	}
	set := 0
	for _, is := range []bool{t.Stream != nil, t.RoundTrips != nil, t.Packets != nil, t.Snapshot != nil, t.Configure != nil,
		t.Resolve != nil, t.Ping != nil, t.Fetch != nil, t.End != nil} {
		if is {
			set++
		}
	}
	if set != 1 {
		return fmt.Errorf("a task of %d kinds", set)
	}
	switch {
	case t.Stream != nil:
		return t.Stream.check()
	case t.RoundTrips != nil:
		return t.RoundTrips.check()
	case t.Packets != nil:
		return t.Packets.check()
	case t.Ping != nil:
		return t.Ping.check()
	case t.Resolve != nil && (t.Resolve.Name == "" || len(t.Resolve.Name) > maxText):
		return errors.New("resolve: no name, or one that is too long")
	case t.Fetch != nil && len(t.Fetch.URL) > maxText:
		return errors.New("fetch: the URL is too long")
	}
	return nil
}

func (p *Ping) check() error {
	switch {
	case p.Host == "" || len(p.Host) > maxText:
		return errors.New("ping: no host, or one that is too long")
	case p.Count < 1 || p.Count > MaxPings:
		return fmt.Errorf("ping: %d requests where 1 to %d may be", p.Count, MaxPings)
	case p.Bytes < 0 || p.Bytes > MaxDatagram:
		return fmt.Errorf("ping: %d bytes where up to %d may be", p.Bytes, MaxDatagram)
	case p.TimeoutNs <= 0:
		return errors.New("ping: no time to answer")
	}
	return nil
}
