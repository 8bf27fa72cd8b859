package tap

import (
	"bytes"
	"testing"

	"doorbell/virtio/backend"

	"golang.org/x/sys/unix"
)

// A datagram socket keeps frames apart as a tap does.
func pair(t *testing.T) (int, int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return fds[0], fds[1]
}

func pieces(b []byte, sizes ...int) (list [][]byte) {
	for _, n := range sizes {
		n = min(n, len(b))
		list, b = append(list, b[:n:n]), b[n:]
	}
	return append(list, b)
}

func TestVector(t *testing.T) {
	a, b := pair(t)
	frame := make([]byte, 1000)
	for i := range frame {
		frame[i] = byte(i * 7)
	}
	var out, in vector
	for _, c := range []struct {
		name         string
		frame, store [][]byte
		room         int
	}{
		{"whole", [][]byte{frame}, [][]byte{make([]byte, 2000)}, 2000},
		{"in pieces", pieces(frame, 0, 1, 13, 0, 500), pieces(make([]byte, 1100), 3, 0, 700, 1), 1100},
		{"exactly", [][]byte{frame}, [][]byte{make([]byte, 1000)}, 1000},
		{"a byte short", [][]byte{frame}, [][]byte{make([]byte, 999)}, 999},
		{"nowhere", [][]byte{frame}, nil, 0},
	} {
		if n, errno := out.writev(a, c.frame); n != 1000 || errno != 0 {
			t.Errorf("%s: wrote %d, %v", c.name, n, errno)
		}
		n, room, errno := in.readv(b, c.store)
		if errno != 0 || room != c.room || (n > room) != (room < 1000) {
			t.Errorf("%s: read %d with room for %d, %v", c.name, n, room, errno)
		}
		got := make([]byte, 1000)
		if backend.Gather(got, c.store, 0) == 1000 && !bytes.Equal(got, frame) {
			t.Errorf("%s: another frame", c.name)
		}
	}
	if _, _, errno := in.readv(b, [][]byte{frame}); errno != unix.EAGAIN {
		t.Errorf("nothing to read: %v", errno)
	}
	for i := range in.iov {
		if in.iov[i].Base != nil || out.iov[i].Base != nil {
			t.Fatalf("entry %d is kept", i)
		}
	}
}

func TestVectorLimits(t *testing.T) {
	a, b := pair(t)
	var out, in vector
	many := make([][]byte, 3000)
	for i := range many {
		many[i] = []byte{byte(i)}
	}
	for _, bad := range [][][]byte{nil, {nil, {}}, {make([]byte, backend.HeaderLen+backend.EthernetLen-1)}, {make([]byte, backend.MaxFrame+1)}, many} {
		if _, errno := out.writev(a, bad); errno != unix.EINVAL {
			t.Errorf("%d slices: %v", len(bad), errno)
		}
	}
	if _, errno := out.writev(a, many[:maxVector]); errno != 0 {
		t.Error(errno)
	}
	// One entry of the array is for the slack, so that a frame of so many pieces seems too long.
	if n, room, errno := in.readv(b, many); n != maxVector || room != maxVector-1 || errno != 0 {
		t.Errorf("%d, %d, %v", n, room, errno)
	}
}
