package tap

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestErrors(t *testing.T) {
	newTap(t, "single", 0)
	newTap(t, "multi", unix.IFF_MULTI_QUEUE)
	newTap(t, "busy", 0)
	hold := open(t, "busy", 1)
	for _, c := range []struct {
		name  string
		pairs int
		want  string
		is    error
	}{
		{"absent", 1, "tap absent: SIOCGIFINDEX: no such device (there is no such interface; make it with `ip tuntap add dev absent mode tap multi_queue user $USER`)", unix.ENODEV},
		{"single", 2, "tap single: TUNSETIFF: invalid argument (it has one queue and 2 are asked for; make it with `ip tuntap add dev single mode tap multi_queue`, or use queues=1)", unix.EINVAL},
		{"busy", 1, "tap busy: TUNSETIFF: device or resource busy (another program uses it)", unix.EBUSY},
		{"lo", 1, "tap lo: TUNSETIFF: invalid argument (the name belongs to an interface that is not a tap)", unix.EINVAL},
		{"a-name-that-is-too-long", 1, `tap "a-name-that-is-too-long": name: invalid argument (1 to 15 characters)`, unix.EINVAL},
		{"", 1, `tap "": name: invalid argument (1 to 15 characters)`, unix.EINVAL},
		{"multi", 0, "tap multi: 0 queue pairs; want 1 to 256", nil},
	} {
		before := descriptors(t)
		b, err := Open(c.name, c.pairs)
		if err == nil {
			b.Close()
			t.Errorf("%s with %d pairs opens", c.name, c.pairs)
			continue
		}
		if err.Error() != c.want || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s\nwant %s", err, c.want)
		}
		if after := descriptors(t); after != before {
			t.Errorf("%s: %d descriptors, %d before", c.name, after, before)
		}
	}
	hold.Close()
	for _, name := range []string{"single", "multi", "busy"} {
		open(t, name, 1).Close()
	}
	// What cannot be brought about here is explained from its error alone.
	for _, c := range []struct {
		op   string
		err  error
		want string
	}{
		{"open /dev/net/tun", unix.ENOENT, "modprobe tun"}, {"open /dev/net/tun", unix.EACCES, "may not open /dev/net/tun"},
		{"TUNSETIFF", unix.EPERM, "belongs to another user"}, {"TUNSETIFF", unix.E2BIG, "2 queues more"},
	} {
		if s := explain("tap0", c.op, c.err, 2).Error(); !strings.Contains(s, c.want) || strings.Contains(s, "\n") {
			t.Errorf("%s", s)
		}
	}
}

func descriptors(t testing.TB) int {
	e, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(e)
}
