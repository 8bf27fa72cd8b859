package tap

import (
	"errors"
	"strings"
	"testing"

	"doorbell/virtio/backend"

	"golang.org/x/sys/unix"
)

// Every way not to open is one line that names the interface and says what to do.
func TestExplanations(t *testing.T) {
	owned := &link{owner: 1000, ownerTeam: -1}
	for _, c := range []struct {
		err  error
		is   error
		want []string
	}{
		{explainLink("tap7", unix.ENODEV), unix.ENODEV, []string{"no such interface; make it with: ip tuntap add dev tap7 mode tap multi_queue"}},
		{explainLink("tap7", unix.EACCES), unix.EACCES, []string{"look for the interface: permission denied"}},
		{explainOpen("tap7", unix.ENOENT, 2), unix.ENOENT, []string{"/dev/net/tun: no such file or directory", "modprobe tun"}},
		{explainOpen("tap7", unix.ENODEV, 2), unix.ENODEV, []string{"/dev/net/tun", "modprobe tun"}},
		{explainOpen("tap7", unix.EACCES, 2), unix.EACCES, []string{"/dev/net/tun: permission denied", "chmod 666 /dev/net/tun"}},
		{explainOpen("tap7", unix.EMFILE, 2), unix.EMFILE, []string{"too many open files", "ulimit -n"}},
		{explainOpen("tap7", unix.EIO, 2), unix.EIO, []string{"/dev/net/tun: input/output error"}},
		{explainAttach("tap7", unix.EPERM, owned), unix.EPERM, []string{"not permitted", "user 1000", "CAP_NET_ADMIN", "multi_queue user $USER"}},
		{explainAttach("tap7", unix.EPERM, &link{owner: -1, ownerTeam: 5}), unix.EPERM, []string{"group 5"}},
		{explainAttach("tap7", unix.EPERM, &link{owner: -1, ownerTeam: -1}), unix.EPERM, []string{"another user"}},
		{explainAttach("tap7", unix.EBUSY, owned), unix.EBUSY, []string{"in use by another program"}},
		{explainAttach("tap7", unix.ENOMEM, owned), unix.ENOMEM, []string{"TUNSETIFF: cannot allocate memory"}},
		{unfit("tap7", &link{kind: "bridge"}, 1), unix.EINVAL, []string{"a bridge interface, not a tap"}},
		{unfit("tap7", &link{}, 1), unix.EINVAL, []string{"a network interface, not a tap"}},
		{unfit("tap7", &link{kind: "tun", tun: true, mode: unix.IFF_TUN}, 1), unix.EINVAL, []string{"a tun interface"}},
		{unfit("tap7", &link{kind: "tun", tun: true, mode: unix.IFF_TAP}, 4), unix.EINVAL, []string{"one queue and 4 are asked for", "queues=1", "multi_queue"}},
		{unfit("tap7", &link{kind: "tun", tun: true, mode: unix.IFF_TAP, multi: true, queues: 1}, 4), unix.EBUSY, []string{"in use"}},
		{(&Config{Name: "a-name-that-is-too-long"}).check(), unix.EINVAL, []string{"a name of 23 characters; want 1 to 15"}},
		{(&Config{}).check(), unix.EINVAL, []string{"a name of 0 characters"}},
		{(&Config{Name: "tap7", Queues: -1}).check(), unix.EINVAL, []string{"-1 queue pairs; want 1 to 256"}},
		{(&Config{Name: "tap7", Queues: 257}).check(), unix.EINVAL, []string{"257 queue pairs; want 1 to 256"}},
	} {
		s := c.err.Error()
		if !strings.HasPrefix(s, "tap ") || strings.Contains(s, "\n") || !errors.Is(c.err, c.is) {
			t.Errorf("%s", s)
		}
		for _, want := range c.want {
			if !strings.Contains(s, want) {
				t.Errorf("%s\nwant %s", s, want)
			}
		}
	}
	if err := unfit("tap7", &link{kind: "tun", tun: true, mode: unix.IFF_TAP, multi: true}, 1); err != nil {
		t.Errorf("one queue of several: %v", err)
	}
	if err := unfit("tap7", &link{kind: "tun"}, 4); err != nil {
		t.Errorf("a kernel that does not say: %v", err)
	}
	var e *Error
	if !errors.As(explainLink("tap7", unix.ENODEV), &e) || e.Name != "tap7" {
		t.Errorf("%+v", e)
	}
}

// A name cannot steer the terminal or make a second line of a message.
func TestUnprintableName(t *testing.T) {
	for _, name := range []string{"a\nb", "\x1b[2J", "a\rb", "\x7f", "\xff", "\u202e"} {
		for _, err := range []error{
			explainLink(name, unix.ENODEV), explainLink(name, unix.EACCES), explainOpen(name, unix.EACCES, 1), busy(name),
			explainAttach(name, unix.EPERM, &link{owner: 1}), unfit(name, &link{kind: "tun", tun: true, mode: unix.IFF_TAP}, 2),
			(&Config{Name: name, Queues: -1}).check(), (&Config{Name: strings.Repeat(name, 16)}).check(),
			(&Tap{name: name}).lost(),
		} {
			if s := err.Error(); strings.Contains(s, name) || !strings.HasPrefix(s, `tap "`) {
				t.Errorf("%q", s)
			}
		}
		if s := (&Tap{name: name}).String(); strings.Contains(s, name) {
			t.Errorf("%q", s)
		}
	}
}

func TestNeeds(t *testing.T) {
	for _, c := range []struct {
		flags, gso byte
		want       backend.Offloads
	}{
		{0, 0, 0}, {backend.FlagDataValid, 0, 0}, {backend.FlagNeedsCsum, 0, backend.Checksum}, {1, backend.GSOTCPv4, backend.Checksum | backend.TSO4},
		{1, backend.GSOTCPv6 | backend.GSOECN, backend.Checksum | backend.TSO6 | backend.ECN}, {0, backend.GSOUDPL4, backend.USO},
		{0, 3, unknownOffload}, {0, 99, unknownOffload},
	} {
		if got := needs(c.flags, c.gso); got != c.want {
			t.Errorf("flags %d, type %d: %v, want %v", c.flags, c.gso, got, c.want)
		}
	}
}
