package netconf

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// fakeCard is a driver with RSS and coalescing, as the kernel's ethtool core would call it. It reads and writes the structures by
// their offsets in include/uapi/linux/ethtool.h, not by this package's helpers.
type fakeCard struct {
	table    [8]uint32
	key      [40]byte
	function byte
	hash     map[uint32]uint64
	coalesce [23]uint32
	perQueue map[int][23]uint32
	rings    [9]uint32
	lie      bool // sizes beyond reason
}

func newFake() (*fakeCard, *NIC) {
	f := &fakeCard{hash: map[uint32]uint64{}, perQueue: map[int][23]uint32{}, function: 1}
	f.coalesce[22] = 77 // rate_sample_interval: nobody's business
	return f, &NIC{name: "f0", ioctl: f.ioctl}
}

func (f *fakeCard) ioctl(b []byte) (int, error) {
	u32 := func(at int) uint32 { return binary.NativeEndian.Uint32(b[at:]) }
	set := func(at int, v uint32) { binary.NativeEndian.PutUint32(b[at:], v) }
	switch u32(0) {
	case 0x46: // ETHTOOL_GRSSH
		indir, key := u32(8), u32(12)
		set(8, uint32(len(f.table)))
		set(12, uint32(len(f.key)))
		if f.lie {
			set(8, 1<<31)
		}
		if indir == 0 && key == 0 {
			return 0, nil
		}
		if int(indir) != len(f.table) || int(key) != len(f.key) {
			return 0, unix.EINVAL
		}
		b[16] = f.function
		for i, q := range f.table {
			set(24+4*i, q)
		}
		copy(b[24+4*len(f.table):], f.key[:])
	case 0x47: // ETHTOOL_SRSSH
		indir, key := u32(8), u32(12)
		if indir != 0xffffffff && int(indir) != len(f.table) || key != 0 && int(key) != len(f.key) {
			return 0, unix.EINVAL
		}
		at := 24
		if indir != 0xffffffff {
			for i := range f.table {
				f.table[i] = u32(24 + 4*i)
			}
			at += 4 * len(f.table)
		}
		copy(f.key[:key], b[at:])
		if b[16] != 0 {
			f.function = b[16]
		}
	case 0x10: // ETHTOOL_GRINGPARAM
		for i, v := range f.rings[1:] {
			set(4+4*i, v)
		}
	case 0x11: // ETHTOOL_SRINGPARAM
		for i := range f.rings {
			f.rings[i] = u32(4 * i)
		}
	case 0x29: // ETHTOOL_GRXFH
		binary.NativeEndian.PutUint64(b[8:], f.hash[u32(4)])
	case 0x2a: // ETHTOOL_SRXFH
		f.hash[u32(4)] = binary.NativeEndian.Uint64(b[8:])
	case 0xe: // ETHTOOL_GCOALESCE
		for i, v := range f.coalesce[1:] {
			set(4+4*i, v)
		}
	case 0xf: // ETHTOOL_SCOALESCE
		for i := range f.coalesce {
			f.coalesce[i] = u32(4 * i)
		}
	case 0x4b: // ETHTOOL_PERQUEUE
		at := 520
		for queue := range 4096 {
			if u32(8+queue/32*4)&(1<<(queue%32)) == 0 {
				continue
			}
			values := f.perQueue[queue]
			for i := range values {
				if u32(4) == 0xe && i > 0 {
					set(at+4*i, values[i])
				} else {
					values[i] = u32(at + 4*i)
				}
			}
			f.perQueue[queue] = values
			at += 92
		}
	default:
		return 0, unix.EOPNOTSUPP
	}
	return 0, nil
}

func TestRSS(t *testing.T) {
	f, n := newFake()
	if err := n.SpreadRSS(3); err != nil {
		t.Fatal(err)
	}
	key := strings.Repeat("6d5a", 20)
	if err := n.SetRSS(RSS{Key: key}); err != nil { // the table stays
		t.Fatal(err)
	}
	got, err := n.RSS()
	if diff := cmp.Diff(RSS{Indirection: []uint32{0, 1, 2, 0, 1, 2, 0, 1}, Key: key, Function: 1}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for want, r := range map[string]RSS{
		"f0: set receive-side scaling: a table of 9 where the card has 8":           {Indirection: make([]uint32, 9)},
		"f0: set receive-side scaling: a key of 2 bytes where the card has 40":      {Key: "6d5a"},
		"f0: set receive-side scaling: key: encoding/hex: odd length hex string":    {Key: "6d5"},
		"f0: set receive-side scaling: key: encoding/hex: invalid byte: U+0078 'x'": {Key: "xx"},
	} {
		if err := n.SetRSS(r); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	if err := n.SpreadRSS(0); err == nil {
		t.Error("no queue at all is accepted")
	}
	f.lie = true
	if _, err := n.RSS(); err == nil || !strings.Contains(err.Error(), "the driver has a table of 2147483648") {
		t.Errorf("error %v", err)
	}
}

func TestHashFields(t *testing.T) {
	f, n := newFake()
	if err := n.SetHashFields("tcp4", "sdfn"); err != nil {
		t.Fatal(err)
	}
	if f.hash[1] != 0xf0 {
		t.Errorf("fields %#x", f.hash[1])
	}
	if got, err := n.HashFields("tcp4"); err != nil || got != "sdfn" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := n.SetHashFields("tcp4", "sz"); err == nil || !strings.Contains(err.Error(), "hash field 'z'") {
		t.Errorf("error %v", err)
	}
	if _, err := n.HashFields("ipx"); err == nil || !strings.Contains(err.Error(), `flow type "ipx"`) {
		t.Errorf("error %v", err)
	}
}

func TestCoalesce(t *testing.T) {
	f, n := newFake()
	want := Coalesce{RxUsecs: 50, RxFrames: 16, TxUsecs: 70, TxFrames: 32}
	if err := n.SetCoalesce(want); err != nil {
		t.Fatal(err)
	}
	if f.coalesce[1] != 50 || f.coalesce[2] != 16 || f.coalesce[5] != 70 || f.coalesce[6] != 32 || f.coalesce[22] != 77 {
		t.Errorf("the driver has %v", f.coalesce)
	}
	if got, err := n.Coalesce(); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, queue := range []int{0, 33, 4095} {
		one := Coalesce{RxUsecs: uint32(queue) + 1, TxFrames: 9}
		if err := n.SetQueueCoalesce(queue, one); err != nil {
			t.Fatal(err)
		}
		if f.perQueue[queue][1] != one.RxUsecs || f.perQueue[queue][6] != 9 {
			t.Errorf("queue %d has %v", queue, f.perQueue[queue])
		}
		if got, err := n.QueueCoalesce(queue); err != nil || got != one {
			t.Errorf("queue %d: got %+v, %v", queue, got, err)
		}
	}
	if _, err := n.QueueCoalesce(4096); err == nil || err.Error() != "f0: queue 4096 is not below 4096" {
		t.Errorf("error %v", err)
	}
}

// SetRings changes the lengths of the queues that virtio has and leaves those of other kinds alone.
func TestRings(t *testing.T) {
	f, n := newFake()
	f.rings = [9]uint32{0, 256, 1, 2, 512, 64, 3, 4, 128}
	r, err := n.Rings()
	if want := (Rings{MaxRx: 256, MaxTx: 512, Rx: 64, Tx: 128}); err != nil || r != want {
		t.Errorf("%+v, %v, want %+v", r, err, want)
	}
	if err := n.SetRings(Rings{Rx: 32, Tx: 16}); err != nil {
		t.Fatal(err)
	}
	if want := [9]uint32{0x11, 256, 1, 2, 512, 32, 3, 4, 16}; f.rings != want {
		t.Errorf("the driver was told %v, want %v", f.rings, want)
	}
}
