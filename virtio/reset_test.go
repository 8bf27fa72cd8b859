package virtio

import (
	"testing"

	"golang.org/x/sys/unix"
)

// threadedDevice serves each queue with a thread of its own, which sleeps on the queue's eventfd and one that stops it.
type threadedDevice struct {
	testDevice
	stop map[int]*eventFD
	done map[int]chan struct{}
}

func (d *threadedDevice) Activate(features uint64, queues []*Queue) error {
	if err := d.testDevice.Activate(features, queues); err != nil {
		return err
	}
	for _, q := range queues {
		if q != nil {
			d.serve(q)
		}
	}
	return nil
}

func (d *threadedDevice) StartQueue(q *Queue) error {
	d.serve(q)
	return d.testDevice.StartQueue(q)
}

func (d *threadedDevice) StopQueue(n int) {
	d.end(n)
	d.testDevice.StopQueue(n)
}

func (d *threadedDevice) Reset() {
	for n := range d.stop {
		d.end(n)
	}
	d.testDevice.Reset()
}

func (d *threadedDevice) end(n int) {
	d.stop[n].signal()
	<-d.done[n]
	_ = d.stop[n].close()
	delete(d.stop, n)
}

func (d *threadedDevice) serve(q *Queue) {
	stop, err := newEventFD()
	if err != nil {
		d.tb.Fatal(err)
	}
	done := make(chan struct{})
	d.stop[q.Index()], d.done[q.Index()] = stop, done
	go func() {
		defer close(done)
		c := q.NewChain()
		fds := []unix.PollFd{{Fd: int32(q.KickFD()), Events: unix.POLLIN}, {Fd: int32(stop.fd), Events: unix.POLLIN}}
		for {
			if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
				return
			}
			if fds[1].Revents != 0 {
				return
			}
			q.TakeKicks()
			q.DisableKicks()
			for more := true; more; more = q.EnableKicks() {
				for {
					ok, err := q.Pop(c)
					if err != nil || !ok {
						break
					}
					q.Push(c, 0)
				}
				q.Publish()
				q.Notify()
			}
			d.host.ConfigChanged()
		}
	}()
}

// TestResetUnderLoad: the driver resets the device, its queues, MSI-X and the BAR while threads work, some of them on chains that make
// them set DEVICE_NEEDS_RESET. Nothing may race, wait for ever or be left behind.
func TestResetUnderLoad(t *testing.T) {
	d := &threadedDevice{testDevice: testDevice{tb: t}, stop: map[int]*eventFD{}, done: map[int]chan struct{}{}}
	g := newGuestWith(t, &d.testDevice, d)
	for i := range 150 {
		g.write(20, 1, 0)
		clear(g.ram[:0x40000])
		g.start(FeatureVersion1 | FeatureEventIdx | FeatureRingReset)
		drivers := []driver{newSplitDriver(g.ram, 8, true), newSplitDriver(g.ram[0x20000:], 8, true)}
		for n, dr := range drivers {
			dr.enableInterrupts()
			for k := range 4 {
				at := uint64(buffersAt)
				if i%4 != 0 && i%5 == 4 && n == 0 && k == 3 {
					at = testMemory
				}
				dr.add(k, []part{{at, 16, k%2 == 0}}, false)
				g.write(notifyOffset+uint64(n)*notifyMultiplier, 2, uint64(n))
			}
		}
		switch i % 4 {
		case 0: // every buffer comes back
			for _, dr := range drivers {
				for got := 0; got < 4; {
					if _, _, ok := dr.reap(); ok {
						got++
					}
				}
			}
		case 1:
			g.write(22, 2, uint64(i&1))
			g.write(58, 2, 1)
			g.write(28, 2, 1)
		case 2:
			g.configWrite(g.capabilityAt(0)+3, 0)
			g.configWrite(4, 0)
			g.configWrite(4, 2)
		case 3:
			g.segment.Reset()
		}
	}
	g.close()
	if len(d.stop) != 0 {
		t.Errorf("%d threads are left", len(d.stop))
	}
}
