package tap

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"doorbell/virtio/backend"

	"golang.org/x/sys/unix"
)

func TestSteering(t *testing.T) {
	newTap(t, "t0", unix.IFF_MULTI_QUEUE)
	b := open(t, "t0", 4)
	if err := b.SetActive(4); err != nil {
		t.Fatal(err)
	}
	for round, types := range []uint32{backend.HashUDPv4 | backend.HashIPv4, backend.HashIPv4, backend.HashTCPv6, 0, backend.SupportedHashTypes} {
		key := make([]byte, backend.KeyLen)
		for i := range key {
			key[i] = byte(i*73 + round*29 + 5)
		}
		s, err := backend.NewSteering(types, []uint16{3, 1, 0, 2, 1, 3, 2, 0}, 2, key)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.SetSteering(s); err != nil {
			if errors.Is(err, backend.ErrSteering) && os.Getuid() == 0 && !mayLoadPrograms() {
				t.Logf("steering is not permitted here: %v", err)
				return
			}
			t.Fatal(err)
		}
		seen := map[int]int{}
		for range 24 {
			c := listen(t)
			if _, err := c.WriteTo([]byte("which queue?"), &net.UDPAddr{IP: hostNet, Port: 9}); err != nil {
				t.Fatal(err)
			}
			queue, frame := receiveAny(t, b)
			if want := int(s.Queue(frame)); queue != want {
				t.Errorf("types %#x: a frame for queue %d came on queue %d", types, want, queue)
			}
			seen[queue]++
		}
		if types&backend.HashUDPv4 != 0 && len(seen) < 3 {
			t.Errorf("24 flows used queues %v", seen)
		}
	}
	if err := b.SetSteering(nil); err != nil {
		t.Error(err)
	}
}

func mayLoadPrograms() bool {
	m, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(m)), " ") == "0 0 4294967295"
}

func receiveAny(t testing.TB, b *Tap) (int, []byte) {
	t.Helper()
	buf := make([]byte, backend.MaxFrame)
	var p []unix.PollFd
	for i := range b.Queues() {
		p = append(p, unix.PollFd{Fd: int32(b.Queue(i).FD()), Events: unix.POLLIN})
	}
	for {
		for i := range b.Queues() {
			if n := b.Queue(i).Receive([][]byte{buf}); n > 54 && buf[backend.HeaderLen+23] == 17 {
				return i, buf[backend.HeaderLen:n]
			}
		}
		if n, err := unix.Poll(p, 20000); n < 1 && !errors.Is(err, unix.EINTR) {
			t.Fatalf("no frame came: %v", err)
		}
	}
}
