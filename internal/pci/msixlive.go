package pci

import "encoding/binary"

// unmasked says whether the guest wants vector n to deliver.
func (m *MSIX) unmasked(n int) bool {
	return m.enabled.Load() && !m.funcMask && m.table[n*msixEntry+entryControl]&entryMask == 0
}

// message is what the guest has written for vector n.
func (m *MSIX) message(n int) Message {
	e := m.table[n*msixEntry:]
	return Message{Address: binary.LittleEndian.Uint64(e[entryAddress:]), Data: binary.LittleEndian.Uint32(e[entryData:])}
}

// update makes every vector live or not as the registers say.
func (m *MSIX) update() { m.updateRange(0, len(m.vectors)) }

// updateRange is update for vectors [from, to): first it masks, then it routes, then it unmasks.
func (m *MSIX) updateRange(from, to int) {
	var batch []Route
	for n := from; n < to; n++ {
		v := &m.vectors[n]
		want := m.unmasked(n)
		switch {
		case v.live && !want:
			if err := v.way.Disconnect(); err != nil {
				m.fail(n, err)
			}
			v.live = false
		case !v.live && want:
			if msg := m.message(n); !v.routed || v.route != msg {
				if _, ok := msg.Interrupt(); !ok {
					// No interrupt controller would see it. It stays pending rather
					// than become a write to the guest's memory.
					v.undelivered++
					continue
				}
				batch = append(batch, Route{v.way, msg})
			}
		}
	}
	if len(batch) > 0 {
		if err := m.ways.SetRoutes(batch); err != nil {
			m.fail(from, err)
		} else {
			m.noteRoutes(from, to, batch)
		}
	}
	for n := from; n < to; n++ {
		if v := &m.vectors[n]; !v.live && m.unmasked(n) && v.routed && v.route == m.message(n) {
			m.unmask(n)
		}
	}
}

// noteRoutes remembers the routes of a batch, which is in the order of the vectors.
func (m *MSIX) noteRoutes(from, to int, batch []Route) {
	for n := from; n < to && len(batch) > 0; n++ {
		if v := &m.vectors[n]; v.way == batch[0].Vector {
			v.routed, v.route = true, batch[0].Message
			v.routings++
			batch = batch[1:]
		}
	}
}

// unmask connects vector n and delivers once what was fired in the meantime, by the device or by the kernel.
func (m *MSIX) unmask(n int) {
	v := &m.vectors[n]
	m.collect(v)
	if err := v.way.Connect(); err != nil {
		m.fail(n, err)
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
func (m *MSIX) collect(v *vector) {
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
