package pci

import (
	"errors"
	"fmt"
	"sync/atomic"
)

// Source is what fires a function's vectors where that is no model in this process but a device of the host, which has to be told which of its
// own vectors it needs. Its methods are called with the owner's lock held.
type Source interface {
	// Enable is called when the guest enables the capability, before Use. After an error no vector is live.
	Enable() error
	// Use has vector n's eventfd fired from now on. It is called once for each vector, when the guest first unmasks it; what is enabled and not
	// used yet may be fired all the same.
	Use(n int) error
	// Disable ends what Enable began.
	Disable()
}

// vectors are the messages of a function, by MSI or MSI-X, and the ways that they take.
//
// A vector is live while the guest wants it: enabled and not masked; a live vector is connected. Changes go mask → route → unmask: the vectors
// that a register write masks are disconnected, those it unmasks are routed in one batch where their message has changed, and then connected.
type vectors struct {
	device, kind string // for errors
	all          []vector
	ways         Vectors
	onError      func(error)
	source       Source // nil: a model that calls Fire
	sourced      bool   // the source is enabled
	follows      bool   // a live vector's message takes effect at once: MSI's; MSI-X's when it is next unmasked

	// What the registers say, under the owner's lock.
	unmasked func(n int) bool
	message  func(n int) Message
}

// vector is one message's state.
type vector struct {
	way     Vector
	pending bool // taken from the eventfd while it was not live
	live    bool
	used    bool // the source fires it
	routed  bool
	route   Message // if routed

	fired       atomic.Uint64
	masked      uint64
	coalesced   uint64
	refired     uint64
	unmaskings  uint64
	routings    uint64
	undelivered uint64
}

// open makes n ways.
func (s *vectors) open(n int) error {
	s.all = make([]vector, n)
	for i := range s.all {
		w, err := s.ways.NewVector(s.device, i)
		if err != nil {
			s.all = s.all[:i]
			return errors.Join(fmt.Errorf("pci function %s: %s vector %d: %w", s.device, s.kind, i, err), s.close())
		}
		s.all[i].way = w
	}
	return nil
}

// close ends the ways, which are released.
func (s *vectors) close() error {
	var errs []error
	for i := range s.all {
		errs = append(errs, s.ways.Remove(s.all[i].way))
	}
	s.all = nil
	return errors.Join(errs...)
}

// fire sends vector n's message, or makes it pending.
func (s *vectors) fire(n int) {
	if uint(n) >= uint(len(s.all)) {
		return
	}
	v := &s.all[n]
	v.fired.Add(1)
	v.way.Fire()
}

// enable tells the source that the guest has enabled the capability, after what was pending before is forgotten.
func (s *vectors) enable() {
	s.drain()
	if s.source == nil {
		return
	}
	if err := s.source.Enable(); err != nil {
		s.fail(0, err)
		return
	}
	s.sourced = true
}

// disable ends the source's firing and gives the GSIs back. No vector is live.
func (s *vectors) disable() {
	if s.sourced {
		s.source.Disable()
		s.sourced = false
		for i := range s.all {
			s.all[i].used = false
		}
	}
	s.release()
}

// update makes every vector live or not as the registers say.
func (s *vectors) update() { s.updateRange(0, len(s.all)) }

// updateRange is update for vectors [from, to): first it masks, then it routes, then it unmasks.
func (s *vectors) updateRange(from, to int) {
	var batch []Route
	for n := from; n < to; n++ {
		v, want := &s.all[n], s.unmasked(n)
		if v.live && (!want || s.follows && v.route != s.message(n)) {
			if err := v.way.Disconnect(); err != nil {
				s.fail(n, err)
			}
			v.live = false
		}
		if v.live || !want {
			continue
		}
		if msg := s.message(n); !v.routed || v.route != msg {
			if _, ok := msg.Interrupt(); !ok {
				// No interrupt controller would see it. It stays pending rather
				// than become a write to the guest's memory.
				v.undelivered++
				continue
			}
			batch = append(batch, Route{v.way, msg})
		}
	}
	if len(batch) > 0 {
		if err := s.ways.SetRoutes(batch); err != nil {
			s.fail(from, err)
		} else {
			s.noteRoutes(from, to, batch)
		}
	}
	for n := from; n < to; n++ {
		if v := &s.all[n]; !v.live && s.unmasked(n) && v.routed && v.route == s.message(n) {
			s.unmask(n)
		}
	}
}

// noteRoutes remembers the routes of a batch, which is in the order of the vectors.
func (s *vectors) noteRoutes(from, to int, batch []Route) {
	for n := from; n < to && len(batch) > 0; n++ {
		if v := &s.all[n]; v.way == batch[0].Vector {
			v.routed, v.route = true, batch[0].Message
			v.routings++
			batch = batch[1:]
		}
	}
}

// unmask connects vector n and delivers once what was fired in the meantime, by the device or by the kernel.
func (s *vectors) unmask(n int) {
	v := &s.all[n]
	if s.source != nil && !v.used {
		if !s.sourced {
			return
		}
		if err := s.source.Use(n); err != nil {
			s.fail(n, err)
			return
		}
		v.used = true
	}
	s.collect(v)
	if err := v.way.Connect(); err != nil {
		s.fail(n, err)
		return
	}
	v.live = true
	v.unmaskings++
	if v.pending {
		v.pending = false
		v.refired++
		v.way.Fire()
	}
}

// collect moves the eventfd's count of a vector that is not live into its pending bit.
func (s *vectors) collect(v *vector) {
	count := v.way.Take()
	if count == 0 {
		return
	}
	v.masked += count
	v.coalesced += count
	if !v.pending {
		v.coalesced--
	}
	v.pending = true
}

// drain forgets what is pending.
func (s *vectors) drain() {
	for i := range s.all {
		if v := &s.all[i]; !v.live {
			v.way.Take()
			v.pending = false
		}
	}
}

// release gives all GSIs back. No vector is live.
func (s *vectors) release() {
	var batch []Vector
	for i := range s.all {
		if v := &s.all[i]; v.routed && !v.live {
			v.routed = false
			batch = append(batch, v.way)
		}
	}
	if len(batch) > 0 {
		s.ways.Release(batch)
	}
}

func (s *vectors) fail(n int, err error) {
	if s.onError != nil {
		s.onError(fmt.Errorf("pci function %s: %s vector %d: %w", s.device, s.kind, n, err))
	}
}

// stats is the account of every vector; the owner holds its lock.
func (s *vectors) stats() []VectorStats {
	rows := make([]VectorStats, len(s.all))
	for i := range s.all {
		v := &s.all[i]
		rows[i] = VectorStats{
			Vector: i, Message: v.route, Live: v.live, Fired: v.fired.Load(), Masked: v.masked, Coalesced: v.coalesced,
			Refired: v.refired, Unmaskings: v.unmaskings, Routings: v.routings, Undelivered: v.undelivered,
		}
	}
	return rows
}
