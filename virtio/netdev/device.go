package netdev

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"doorbell/virtio"
	"doorbell/virtio/backend"
)

// Device is a virtio network device.
type Device struct {
	cfg       Config
	pairs     int
	mtu       int // 0 is unknown
	offered   uint64
	permanent address // Config.MAC

	host    virtio.Host
	stats   []QueueStats
	waiters []*waiter
	closing sync.Once

	// What queues' goroutines and vCPUs read.
	policy     atomic.Pointer[policy]
	status     atomic.Uint32
	mac        atomic.Uint64
	coalescing []coalescingWord // by queue

	// threads are those of the started queues, by number; the transport's calls come one at a time.
	threads []stopper

	// mu guards the control side's state below, from which policies are made, and orders calls of the backend. It may be taken with
	// the transport's lock held; nobody who holds it waits for a goroutine.
	mu       sync.Mutex
	features uint64
	active   bool
	enabled  []bool // queues that are started
	// controlLast is the number of the control queue of the last driver, which its counts outlive.
	controlLast int
	control
}

// stopper is a started queue.
type stopper interface{ stop() }

// Bits of status in struct virtio_net_config.
const (
	statusLinkUp   = 1 << 0
	statusAnnounce = 1 << 1
)

// Values of the configuration fields that do not change.
const (
	configSize = 24
	// speed is in Mbit/s and means nothing but that there is one: bonding and bridges in the guest want to know. Tap interfaces say the same.
	speed      = 10000
	fullDuplex = 1
)

var _ virtio.Device = (*Device)(nil)

// New makes a device with a pair of queues for each of the backend's. Close must be called, before the backend's.
func New(cfg Config) (_ *Device, err error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("network device %s: %w", cfg.Name, err)
	}
	d := &Device{cfg: cfg, pairs: cfg.Backend.Queues(), mtu: cfg.MTU, permanent: addressOf(cfg.MAC)}
	if d.mtu == 0 {
		d.mtu = cfg.Backend.MTU()
	}
	n := d.controlIndex() + 1
	d.offered = d.offer()
	d.stats = make([]QueueStats, n)
	d.coalescing = make([]coalescingWord, n)
	d.threads = make([]stopper, n)
	d.controlLast = d.controlIndex()
	d.enabled = make([]bool, n)
	d.status.Store(statusLinkUp)
	d.resetControl()
	defer func() {
		if err != nil {
			_ = d.Close()
		}
	}()
	for range n {
		w, err := newWaiter(cfg.IO)
		if err != nil {
			return nil, fmt.Errorf("network device %s: %w", cfg.Name, err)
		}
		d.waiters = append(d.waiters, w)
	}
	for i := range d.pairs {
		if q := cfg.Backend.Queue(i); q.FD() < 0 {
			q.Notify(d.waiters[2*i].wake)
		}
	}
	return d, nil
}

// controlIndex is the number of the control queue of a driver that uses all pairs.
func (d *Device) controlIndex() int { return 2 * d.pairs }

// offer is the features that the device offers.
func (d *Device) offer() uint64 {
	fromGuest, toGuest := d.cfg.Backend.Offloads()
	f := hostFeatures(fromGuest.Consistent()) | guestFeatures(toGuest.Consistent())
	f |= FeatureMAC | FeatureStatus | FeatureMrgRxBuf | FeatureSpeedDuplex |
		FeatureCtrlVQ | FeatureCtrlRx | FeatureCtrlRxExtra | FeatureCtrlVLAN | FeatureCtrlMACAddr | FeatureGuestAnnounce |
		FeatureNotfCoal | FeatureVQNotfCoal | FeatureHashReport
	if f&FeatureGuestCSum != 0 {
		f |= FeatureCtrlGuestOffloads
	}
	if d.mtu >= 68 && d.mtu <= 65535 {
		f |= FeatureMTU
	}
	if d.pairs > 1 {
		f |= FeatureMQ | FeatureRSS
	}
	return consistent(f &^ d.cfg.Disable)
}

// Info implements virtio.Device.
func (d *Device) Info() virtio.Info {
	sizes := make([]int, len(d.stats))
	for i := range sizes {
		sizes[i] = d.cfg.QueueSize
	}
	if d.controlIndex() != 2 {
		sizes[d.controlIndex()] = controlQueueSize
	}
	const network, ethernet = 2, 0 // PCI class codes
	return virtio.Info{Type: 1, BaseClass: network, SubClass: ethernet, Features: d.offered, QueueSizes: sizes, ConfigSize: configSize}
}

// Bind implements virtio.Device.
func (d *Device) Bind(h virtio.Host) { d.host = h }

// ReadConfig implements virtio.Device: struct virtio_net_config (section 5.1.4).
func (d *Device) ReadConfig(off int, p []byte) {
	var b [configSize]byte
	copy(b[:], address(d.mac.Load()).bytes())
	binary.LittleEndian.PutUint16(b[6:], uint16(d.status.Load()))
	binary.LittleEndian.PutUint16(b[8:], uint16(d.pairs))
	binary.LittleEndian.PutUint16(b[10:], uint16(d.mtu))
	binary.LittleEndian.PutUint32(b[12:], speed)
	b[16] = fullDuplex
	b[17] = backend.KeyLen
	binary.LittleEndian.PutUint16(b[18:], backend.MaxIndirection)
	binary.LittleEndian.PutUint32(b[20:], backend.SupportedHashTypes)
	copy(p, b[off:])
}

// WriteConfig implements virtio.Device: all fields are the device's.
func (*Device) WriteConfig(int, []byte) {}

// Negotiate implements virtio.Device.
func (d *Device) Negotiate(features uint64) error {
	if err := checkFeatures(features); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.features = features
	return nil
}

// Announce asks the driver to make itself known on the network (section 5.1.6.5.4), if it knows how.
func (d *Device) Announce() {
	d.mu.Lock()
	ask := d.active && d.features&FeatureGuestAnnounce != 0
	if ask {
		d.status.Or(statusAnnounce)
	}
	d.mu.Unlock()
	if ask {
		d.host.ConfigChanged()
	}
}

// SetLink plugs the cable in or out. While it is out, frames are lost in both directions.
func (d *Device) SetLink(up bool) {
	d.mu.Lock()
	d.down = !up
	d.publishPolicy()
	d.mu.Unlock()
	d.setLinkStatus(up)
}

// backendGone takes the link down because nothing is behind it any more. A queue's goroutine calls it.
func (d *Device) backendGone() { d.setLinkStatus(false) }

func (d *Device) setLinkStatus(up bool) {
	was := uint32(0)
	if up {
		was = d.status.Or(statusLinkUp)
	} else {
		was = d.status.And(^uint32(statusLinkUp))
	}
	if (was&statusLinkUp != 0) != up && d.host != nil {
		d.host.ConfigChanged()
	}
}

// SetMAC gives the device another permanent address, until the driver sets its own.
func (d *Device) SetMAC(mac net.HardwareAddr) error {
	if len(mac) != 6 || mac[0]&1 != 0 {
		return fmt.Errorf("network device %s: %v is not the address of an Ethernet interface", d.cfg.Name, mac)
	}
	d.mu.Lock()
	d.permanent = addressOf(mac)
	d.setAddress(d.permanent)
	d.mu.Unlock()
	if d.host != nil {
		d.host.ConfigChanged()
	}
	return nil
}

// QueueStats is the account of queue i.
func (d *Device) QueueStats(i int) *QueueStats { return &d.stats[i] }

// Queues is the number of queues: a receive and a transmit queue for each pair, and the control queue.
func (d *Device) Queues() int { return len(d.stats) }

// QueueName is queue i's name in reports: rx0, tx0, ... ctrl, as the last driver used it. One that negotiated neither VIRTIO_NET_F_MQ nor
// VIRTIO_NET_F_RSS has its control queue at index 2, and uses none after that: their name is empty.
func (d *Device) QueueName(i int) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i > d.controlLast {
		return ""
	}
	return roleName(i, d.controlLast)
}

// Close ends the device's goroutines and gives its descriptors back. The guest does not run any more; the backend is closed after.
func (d *Device) Close() error {
	d.closing.Do(func() {
		for i := range d.threads {
			d.StopQueue(i)
		}
		for _, w := range d.waiters {
			w.close()
		}
	})
	return nil
}

var errRunning = errors.New("the queue is running")
