package netdev

import (
	"encoding/binary"

	"doorbell/virtio/backend"
)

// command is a control command as it is read. Its bytes are the guest's, which may change them: each is read once.
type command struct {
	list   [][]byte
	len    uint64 // in all
	at     uint64 // read so far
	room   uint64 // bytes that a result may have
	result []byte
}

// left is the number of bytes not yet read.
func (c *command) left() uint64 { return c.len - c.at }

// read fills p, or says that there is less.
func (c *command) read(p []byte) bool {
	if c.left() < uint64(len(p)) {
		return false
	}
	backend.Gather(p, c.list, int(c.at))
	c.at += uint64(len(p))
	return true
}

// skip passes over n bytes.
func (c *command) skip(n uint64) bool {
	if c.left() < n {
		return false
	}
	c.at += n
	return true
}

// Integers of a command; ok is false when there is less.
func (c *command) u8() (v uint8, ok bool) {
	var b [1]byte
	ok = c.read(b[:])
	return b[0], ok
}

func (c *command) u16() (v uint16, ok bool) {
	var b [2]byte
	ok = c.read(b[:])
	return binary.LittleEndian.Uint16(b[:]), ok
}

func (c *command) u32() (v uint32, ok bool) {
	var b [4]byte
	ok = c.read(b[:])
	return binary.LittleEndian.Uint32(b[:]), ok
}

func (c *command) u64() (v uint64, ok bool) {
	var b [8]byte
	ok = c.read(b[:])
	return binary.LittleEndian.Uint64(b[:]), ok
}

// end says that everything has been read.
func (c *command) end() bool { return c.left() == 0 }

// verb is a command of a class, with the feature that it belongs to.
type verb struct {
	class, number uint8
	feature       uint64
	do            func(d *Device, c *command) bool
}

// verbs are the commands (section 5.1.6.5). Their functions are called with Device.mu held and must read exactly what is there.
var verbs = []verb{
	{0, 0, FeatureCtrlRx, setMode(Promiscuous)},
	{0, 1, FeatureCtrlRx, setMode(AllMulticast)},
	{0, 2, FeatureCtrlRxExtra, setMode(AllUnicast)},
	{0, 3, FeatureCtrlRxExtra, setMode(NoMulticast)},
	{0, 4, FeatureCtrlRxExtra, setMode(NoUnicast)},
	{0, 5, FeatureCtrlRxExtra, setMode(NoBroadcast)},
	{1, 0, FeatureCtrlRx, (*Device).setAddressTables},
	{1, 1, FeatureCtrlMACAddr, (*Device).setMACAddress},
	{2, 0, FeatureCtrlVLAN, setVLAN(true)},
	{2, 1, FeatureCtrlVLAN, setVLAN(false)},
	{3, 0, FeatureGuestAnnounce, (*Device).acknowledgeAnnounce},
	{4, 0, FeatureMQ, (*Device).setPairs},
	{4, 1, FeatureRSS, (*Device).configureRSS},
	{4, 2, FeatureHashReport, (*Device).configureHash},
	{5, 0, FeatureCtrlGuestOffloads, (*Device).setGuestOffloads},
	{6, 0, FeatureNotfCoal, setCoalescing(transmitQueues)},
	{6, 1, FeatureNotfCoal, setCoalescing(receiveQueues)},
	{6, 2, FeatureVQNotfCoal, (*Device).setQueueCoalescing},
	{6, 3, FeatureVQNotfCoal, (*Device).getQueueCoalescing},
}

// execute carries out a command and says whether it succeeded.
func (d *Device) execute(c *command) bool {
	class, _ := c.u8()
	number, ok := c.u8()
	if !ok {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range verbs {
		if v := &verbs[i]; v.class == class && v.number == number {
			return d.features&v.feature != 0 && v.do(d, c)
		}
	}
	return false
}
