package vmm

import "sync"

// maxEvents is how many different events a log keeps. A guest decides how many there are.
const maxEvents = 16

// eventLog keeps what went wrong between a device and its driver, for the report. Any thread may add, with a device's locks held.
type eventLog struct {
	mu    sync.Mutex // held for the time of a look-up in a short list
	rows  []EventRow
	other uint64
}

// EventRow is something that went wrong with a device, and how often.
type EventRow struct {
	Event string `json:"event"`
	Count uint64 `json:"count"`
}

func (l *eventLog) add(err error) {
	text := err.Error()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.rows {
		if l.rows[i].Event == text {
			l.rows[i].Count++
			return
		}
	}
	if len(l.rows) < maxEvents {
		l.rows = append(l.rows, EventRow{text, 1})
	} else {
		l.other++
	}
}

// list is what happened so far, in the order of the first times.
func (l *eventLog) list() []EventRow {
	l.mu.Lock()
	defer l.mu.Unlock()
	rows := append([]EventRow{}, l.rows...)
	if l.other > 0 {
		rows = append(rows, EventRow{"others", l.other})
	}
	return rows
}
