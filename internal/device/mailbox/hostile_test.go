package mailbox

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// frame is a raw frame of the guest, honest or not.
type frame struct {
	length, header uint32
	payload        int // bytes really there
}

func TestHostileGuest(t *testing.T) {
	const report, more = uint32(Report), uint32(moreFlag)
	for _, tc := range []struct {
		name   string
		frames []frame
		tail   uint64 // instead of the frames' end
		want   string
	}{
		{"tail beyond the ring", nil, guestRingSize + 1, "tail 0xc0001 is not between 0x0 and 0xc0000"},
		{"tail behind", nil, ^uint64(0), "tail 0xffffffffffffffff is not"},
		{"half a header", nil, 7, "7 bytes at 0x0 cannot be a frame"},
		{"longer than what is there", []frame{{5, report, 4}}, 0, "payload of 5 bytes: 4 are there"},
		{"longer than allowed", []frame{{MaxFrame + 1, report, 0}}, guestRingSize, "payload of 524289 bytes"},
		{"endless", []frame{{0xffffffff, report, 0}}, guestRingSize, "payload of 4294967295 bytes"},
		{"host's type", []frame{{0, uint32(Job), 0}}, 0, "the peer does not send Job"},
		{"unknown type", []frame{{0, 0, 0}}, 0, "the peer does not send type 0"},
		{"another type inside", []frame{{1, report | more, 1}, {1, uint32(Log), 1}}, 0, "Log inside Report"},
		{"empty, with more", []frame{{0, report | more, 0}}, 0, "empty, with more to come"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			host, _, shared := pair(t)
			at := 0
			for _, f := range tc.frames {
				ring := shared[guestRingOffset+at:]
				binary.LittleEndian.PutUint32(ring[0:], f.length)
				binary.LittleEndian.PutUint32(ring[4:], f.header)
				at += headerSize + f.payload
			}
			tail := uint64(at)
			if tc.tail != 0 {
				tail = tc.tail
			}
			word(shared, guestTailOffset).Store(tail)
			_, _, err := host.Receive()
			if !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want ErrBroken with %q", err, tc.want)
			}
			if again := host.Send(Job, nil); again == nil || again.Error() != err.Error() {
				t.Errorf("Send after that: %v, want the same error", again)
			}
		})
	}
}

// A guest that never ends its message cannot make the host keep more than
// MaxMessage.
func TestEndlessMessage(t *testing.T) {
	host, _, shared := pair(t)
	ring := shared[guestRingOffset:]
	binary.LittleEndian.PutUint32(ring[0:], guestRingSize/2-headerSize)
	binary.LittleEndian.PutUint32(ring[4:], uint32(Report)|moreFlag)
	copy(ring[guestRingSize/2:guestRingSize], ring[:guestRingSize/2])
	for tail := uint64(guestRingSize); ; tail += guestRingSize {
		word(shared, guestTailOffset).Store(tail)
		_, ok, err := host.Receive()
		if ok {
			t.Fatal("received a message without an end")
		}
		if err != nil {
			if !strings.Contains(err.Error(), "Report exceeds 16777216 bytes") {
				t.Errorf("error %v", err)
			}
			if tail > MaxMessage+2*guestRingSize {
				t.Errorf("broke after %d bytes", tail)
			}
			return
		}
	}
}

func TestHostileHead(t *testing.T) {
	for _, head := range []uint64{1, 1 << 40, ^uint64(0)} {
		host, _, shared := pair(t)
		word(shared, guestHeadOffset).Store(head)
		if err := host.Send(Job, []byte("x")); !errors.Is(err, ErrBroken) {
			t.Errorf("guest head 0x%x: %v, want ErrBroken", head, err)
		}
	}
	// Nor may it go back.
	host, guest, shared := pair(t)
	for range 2 {
		if err := host.Send(Job, []byte("x")); err != nil {
			t.Fatal(err)
		}
		wantMessage(t, guest, Job, "x")
	}
	if err := host.Send(Job, nil); err != nil {
		t.Fatal(err)
	}
	word(shared, guestHeadOffset).Store(9)
	if err := host.Send(Job, nil); !errors.Is(err, ErrBroken) {
		t.Errorf("guest head moved back: %v, want ErrBroken", err)
	}
}

// FuzzHost lets a guest write anything anywhere between the host's calls. An
// operation is five bytes: what, where (three bytes), value.
func FuzzHost(f *testing.F) {
	f.Add([]byte{})
	// A whole frame, then a head that is wrong.
	f.Add([]byte{1, 0, 0, 0, 2, 1, 4, 0, 0, 2, 0, 0x80, 0, 0, 10, 9, 0, 0, 0, 0, 3, 0, 0, 0, 1, 9, 0, 0, 0, 0})
	// MORE without an end, and the tail far away.
	f.Add([]byte{1, 0, 0, 0, 8, 1, 4, 0, 0, 3, 1, 7, 0, 0, 0x80, 2, 0x10, 0, 0, 0, 9, 0, 0, 0, 0, 2, 0, 0, 12, 0, 9, 0, 0, 0, 0})
	shared := make([]byte, SharedSize)
	f.Fuzz(func(t *testing.T, ops []byte) {
		clear(shared)
		host, err := NewHost(shared)
		if err != nil {
			t.Fatal(err)
		}
		host.SetSendTimeout(0)
		var broken error
		check := func(err error) {
			t.Helper()
			switch {
			case broken != nil && (err == nil || err.Error() != broken.Error()):
				t.Fatalf("error %v after %v", err, broken)
			case err != nil && !errors.Is(err, ErrBroken) && !errors.Is(err, ErrFull):
				t.Fatalf("error %v is neither ErrBroken nor ErrFull", err)
			case errors.Is(err, ErrBroken):
				broken = err
			}
		}
		for ; len(ops) >= 5; ops = ops[5:] {
			at := int(ops[1]) | int(ops[2])<<8 | int(ops[3])<<16
			v := ops[4]
			switch ops[0] % 6 {
			case 0: // anywhere
				shared[at%SharedSize] = v
			case 1: // in the ring, near where the host reads
				shared[guestRingOffset+(int(host.in.pos%guestRingSize)+at%64)%guestRingSize] = v
			case 2: // the tail, as a number
				word(shared, guestTailOffset).Store(uint64(at))
			case 3:
				word(shared, guestHeadOffset).Store(uint64(at))
			case 4:
				if v&1 == 0 {
					check(host.Send(Job, make([]byte, at%hostRingSize)))
					break
				}
				fallthrough
			default:
				m, ok, err := host.Receive()
				check(err)
				if ok && (!fromGuest(m.Type) || len(m.Payload) > MaxMessage) {
					t.Fatalf("received %v of %d bytes", m.Type, len(m.Payload))
				}
				if len(host.partial) > MaxMessage {
					t.Fatalf("keeps %d bytes", len(host.partial))
				}
			}
		}
	})
}
