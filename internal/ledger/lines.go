package ledger

// Line is the count of one interrupt line of a device. Any thread may raise it.
type Line struct {
	Device string
	GSI    uint32
	raised Shared
}

// AddLine gives a device's line its count.
func (l *Ledger) AddLine(device string, gsi uint32) *Line {
	n := &Line{Device: device, GSI: gsi}
	l.lines = append(l.lines, n)
	return n
}

// Raise counts a pulse.
func (l *Line) Raise() { l.raised.Add(1) }

// LineRow is how often a device raised its line.
type LineRow struct {
	Device string `json:"device"`
	GSI    uint32 `json:"gsi"`
	Raised uint64 `json:"raised"`
}

// Lines are the devices' lines in the order in which they were wired.
func (l *Ledger) Lines() []LineRow {
	rows := make([]LineRow, 0, len(l.lines))
	for _, n := range l.lines {
		rows = append(rows, LineRow{n.Device, n.GSI, n.raised.Load()})
	}
	return rows
}
