package wire

import (
	"errors"
	"fmt"
)

// Flows are the connections or sockets of a task.
type Flows struct {
	Count int `json:"count"`
	// Token is what their prefaces or datagrams carry.
	Token Token `json:"token"`
	// SourcePorts are the guest's own, one for each flow; empty for any.
	SourcePorts []uint16 `json:"source_ports,omitempty"`
	// CPUs are where the guest's end of each flow is worked on, in turn; empty for anywhere.
	CPUs []int `json:"cpus,omitempty"`
	// Inbound has the guest listen on Port, 0 for any; otherwise it connects to the controller's address: over TCP to the port that
	// the control connection has, over UDP to Port.
	Inbound bool   `json:"inbound,omitempty"`
	Port    uint16 `json:"port,omitempty"`
}

// errOneSocket: a port that is forwarded is one.
var errOneSocket = errors.New("inbound datagrams have one flow")

const maxCPU = 1 << 14

func (f *Flows) check() error {
	switch {
	case f.Count < 1 || f.Count > MaxFlows:
		return fmt.Errorf("%d flows where 1 to %d may be", f.Count, MaxFlows)
	case len(f.SourcePorts) != 0 && len(f.SourcePorts) != f.Count:
		return fmt.Errorf("%d source ports for %d flows", len(f.SourcePorts), f.Count)
	case len(f.SourcePorts) != 0 && f.Inbound:
		return errors.New("source ports for flows that are not the guest's")
	case len(f.CPUs) > f.Count:
		return fmt.Errorf("%d CPUs for %d flows", len(f.CPUs), f.Count)
	}
	for _, cpu := range f.CPUs {
		if cpu < 0 || cpu >= maxCPU {
			return fmt.Errorf("CPU %d does not exist", cpu)
		}
	}
	return nil
}

// CPU is where the flow's worker belongs, or -1 for anywhere.
func (f *Flows) CPU(flow int) int {
	if len(f.CPUs) == 0 {
		return -1
	}
	return f.CPUs[flow%len(f.CPUs)]
}

// SourcePort is the guest's port of a flow, or 0 for any.
func (f *Flows) SourcePort(flow int) uint16 {
	if len(f.SourcePorts) == 0 {
		return 0
	}
	return f.SourcePorts[flow]
}

// Stream sends Bytes over each of several TCP connections, and nothing else, save that a guest that sends waits for one byte on
// each, which comes when all are there. The controller is the first to close, so that the guest's port is free again at once.
type Stream struct {
	Flows
	// Up is from the guest to the controller.
	Up bool `json:"up,omitempty"`
	// Bytes is what each connection carries.
	Bytes uint64 `json:"bytes"`
	// Seed makes the payload; see NewPayload.
	Seed  uint64 `json:"seed"`
	Check Check  `json:"check"`
	// Chunk is how much is read or written at a time; a multiple of 8.
	Chunk int `json:"chunk_bytes"`
}

func (s *Stream) check() error {
	err := s.Flows.check()
	switch {
	case err != nil:
	case s.Bytes > MaxBytes:
		err = fmt.Errorf("%d bytes where up to %d may be", s.Bytes, uint64(MaxBytes))
	case s.Chunk < 8 || s.Chunk > MaxChunk || s.Chunk%8 != 0:
		err = fmt.Errorf("chunks of %d bytes where multiples of 8 up to %d may be", s.Chunk, MaxChunk)
	default:
		err = s.Check.check()
	}
	if err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	return nil
}

// RoundTrips has the guest send back what comes. The controller ends it: over TCP by closing, over UDP by a message.
type RoundTrips struct {
	Flows
	UDP   bool `json:"udp,omitempty"`
	Bytes int  `json:"bytes"`
}

func (r *RoundTrips) check() error {
	err := r.Flows.check()
	switch least, most := 1, MaxChunk; {
	case err != nil:
	case r.UDP && r.Inbound && r.Count != 1:
		err = errOneSocket
	default:
		if r.UDP {
			least, most = DatagramHeader, MaxDatagram
		}
		if r.Bytes < least || r.Bytes > most {
			err = fmt.Errorf("%d bytes where %d to %d may be", r.Bytes, least, most)
		}
	}
	if err != nil {
		return fmt.Errorf("round trips: %w", err)
	}
	return nil
}

// Packets sends UDP datagrams.
type Packets struct {
	Flows
	// Up is from the guest to the controller.
	Up    bool   `json:"up,omitempty"`
	Bytes int    `json:"bytes"`
	Each  uint64 `json:"packets"` // of each flow
	// PerSecond limits each flow; 0 for as fast as can be.
	PerSecond float64 `json:"per_second,omitempty"`
}

func (p *Packets) check() error {
	err := p.Flows.check()
	switch {
	case err != nil:
	case p.Inbound && p.Up:
		err = errors.New("datagrams to the controller go out, not in")
	case p.Inbound && p.Count != 1:
		err = errOneSocket
	case p.Bytes < DatagramHeader || p.Bytes > MaxDatagram:
		err = fmt.Errorf("%d bytes where %d to %d may be", p.Bytes, DatagramHeader, MaxDatagram)
	case p.Each < 1 || p.Each > MaxPackets:
		err = fmt.Errorf("%d datagrams where 1 to %d may be", p.Each, MaxPackets)
	case !(p.PerSecond >= 0 && p.PerSecond <= 1e9):
		err = fmt.Errorf("%g datagrams a second", p.PerSecond)
	}
	if err != nil {
		return fmt.Errorf("packets: %w", err)
	}
	return nil
}
