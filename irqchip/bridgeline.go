package irqchip

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"doorbell/internal/ledger"
	"doorbell/irqchip/ioapic"

	"golang.org/x/sys/unix"
)

// bridgeLine is an edge-triggered line to the models.
type bridgeLine struct {
	bridge *southbridge
	source *ioapic.Source
	irq    int // at the PICs, or noIRQ
	count  *ledger.Line
}

// noIRQ is the irq of a GSI that does not lead to the PICs.
const noIRQ = -1

// source gives a line its places at the IOAPIC and the PICs.
func (b *southbridge) source(gsi uint32) (*ioapic.Source, int, error) {
	if gsi >= ioapicPins {
		return nil, noIRQ, pinError(gsi)
	}
	s, err := b.ioapic.NewSource(int(gsi))
	if gsi < picPins {
		return s, int(gsi), err
	}
	return s, noIRQ, err
}

// NewLine implements Chip.
func (b *southbridge) NewLine(gsi uint32, count *ledger.Line) (Line, error) {
	s, irq, err := b.source(gsi)
	if err != nil {
		return nil, err
	}
	l := &bridgeLine{bridge: b, source: s, irq: irq, count: count}
	b.close = append(b.close, l.Close)
	return l, nil
}

// Raise implements Line.
func (l *bridgeLine) Raise() {
	l.count.Raise()
	l.source.Set(true)
	l.source.Set(false)
	if l.irq != noIRQ {
		// The PICs' requests have to stay until they are acknowledged: see package pic.
		l.bridge.pic.SetLine(l.irq, false)
		l.bridge.pic.SetLine(l.irq, true)
	}
}

// Close implements Line.
func (l *bridgeLine) Close() error {
	l.source.Close()
	return nil
}

// bridgeLevel is a level-triggered line to the models.
type bridgeLevel struct {
	bridge *southbridge
	source *ioapic.Source
	irq    int
	count  *ledger.Line
	level  atomic.Bool
}

// NewLevel implements Chip.
func (b *southbridge) NewLevel(gsi uint32, count *ledger.Line) (Level, error) {
	s, irq, err := b.source(gsi)
	if err != nil {
		return nil, err
	}
	l := &bridgeLevel{bridge: b, source: s, irq: irq, count: count}
	b.close = append(b.close, l.Close)
	return l, nil
}

// Set implements Level.
func (l *bridgeLevel) Set(level bool) {
	if l.level.Load() == level {
		return
	}
	l.level.Store(level)
	if level {
		l.count.Raise()
	}
	if l.irq != noIRQ {
		l.bridge.setIRQ(l.irq, level)
	}
	l.source.Set(level)
}

// setIRQ is a change of one of the lines of an IRQ.
func (b *southbridge) setIRQ(irq int, level bool) {
	b.legacy.Lock()
	defer b.legacy.Unlock()
	n := &b.legacy.active[irq]
	was := *n > 0
	if level {
		*n++
	} else {
		*n--
	}
	if is := *n > 0; is != was {
		b.pic.SetLine(irq, is)
	}
}

// Close implements Level.
func (l *bridgeLevel) Close() error {
	l.Set(false)
	l.source.Close()
	return nil
}

// bridgeResampled is a Resampled line to the IOAPIC's model.
type bridgeResampled struct {
	line   *Resampled
	source *ioapic.Source

	mu     sync.Mutex // held while the line changes, so that a signal and an EOI that meet leave it as raised says
	raised bool
}

// NewResampled implements Chip. A goroutine takes the signals; the PICs, which tell nobody of their EOIs, are left out, so that the GSI must be one
// of the IOAPIC alone.
func (b *southbridge) NewResampled(gsi uint32, count *ledger.Line) (*Resampled, error) {
	if gsi < picPins || gsi >= ioapicPins {
		return nil, fmt.Errorf("GSI %d: a resampled line needs one of %d to %d", gsi, picPins, ioapicPins-1)
	}
	source, err := b.ioapic.NewSource(int(gsi))
	if err != nil {
		return nil, err
	}
	r, err := newResampled(count)
	if err != nil {
		source.Close()
		return nil, err
	}
	stop, err := newEventFD()
	if err != nil {
		source.Close()
		unix.Close(r.raise)
		unix.Close(r.resample)
		return nil, err
	}
	l := &bridgeResampled{line: r, source: source}
	b.resampled[gsi] = append(b.resampled[gsi], l)
	done := make(chan struct{})
	go l.take(stop, done)
	r.remove = func() error {
		_, _ = unix.Write(stop, one)
		<-done
		source.Close()
		return unix.Close(stop)
	}
	b.close = append(b.close, r.Close)
	return r, nil
}

// take raises the line for each signal.
func (l *bridgeResampled) take(stop int, done chan struct{}) {
	defer close(done)
	fds := []unix.PollFd{{Fd: int32(l.line.raise), Events: unix.POLLIN}, {Fd: int32(stop), Events: unix.POLLIN}}
	var b [8]byte
	for {
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return // the descriptors are ours: it cannot happen
		}
		if fds[1].Revents != 0 {
			return
		}
		if n, _ := unix.Read(l.line.raise, b[:]); n == len(b) {
			l.mu.Lock()
			l.raised = true
			l.source.Set(true)
			l.mu.Unlock()
		}
	}
}

// ended is an EOI for a pin: its resampled lines fall, and their devices are told.
func (b *southbridge) ended(pin int) {
	for _, l := range b.resampled[pin] {
		l.mu.Lock()
		if l.raised {
			l.raised = false
			l.source.Set(false)
			_, _ = unix.Write(l.line.resample, one)
		}
		l.mu.Unlock()
	}
}
