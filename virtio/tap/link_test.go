package tap

import (
	"errors"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLinks(t *testing.T) {
	ask, err := newLinks()
	if err != nil {
		t.Fatal(err)
	}
	defer ask.close()
	lo, err := ask.named("lo")
	if err != nil {
		t.Fatal(err)
	}
	if lo.index < 1 || lo.mtu < 68 || lo.kind != "" || lo.tun || lo.queues != 0 {
		t.Errorf("lo: %+v", lo)
	}
	if again, err := ask.numbered(lo.index); err != nil || again.index != lo.index {
		t.Errorf("lo by number: %+v, %v", again, err)
	}
	if _, err := ask.named("no-such-link"); !errors.Is(err, unix.ENODEV) {
		t.Errorf("an interface that is not there: %v", err)
	}
}

func FuzzParseLink(f *testing.F) {
	ask, err := newLinks()
	if err != nil {
		f.Fatal(err)
	}
	defer ask.close()
	m, err := ask.request(unix.RTM_GETLINK, 0, append(linkMessage(0, 0), attribute(unix.IFLA_IFNAME, []byte("lo\x00"))...))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint16(unix.RTM_NEWLINK), append([]byte(nil), m.Data...))
	tun := attribute(unix.IFLA_INFO_KIND, []byte("tun\x00"))
	tun = append(tun, attribute(unix.IFLA_INFO_DATA, append(attribute(unix.IFLA_TUN_TYPE, []byte{2}), attribute(unix.IFLA_TUN_NUM_QUEUES, []byte{4, 0, 0, 0})...))...)
	f.Add(uint16(unix.RTM_NEWLINK), append(linkMessage(7, 1), attribute(unix.IFLA_LINKINFO, tun)...))
	f.Add(uint16(unix.RTM_NEWLINK), append(linkMessage(7, 1), 3, 0, 1, 0))
	f.Fuzz(func(t *testing.T, kind uint16, data []byte) {
		l, err := parseLink(&syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: kind}, Data: data})
		if (l == nil) == (err == nil) || err == nil && kind != unix.RTM_NEWLINK {
			t.Errorf("%+v, %v", l, err)
		}
	})
}

func TestLinkOfTap(t *testing.T) {
	tun := attribute(unix.IFLA_INFO_KIND, []byte("tun\x00"))
	data := attribute(unix.IFLA_TUN_TYPE, []byte{unix.IFF_TAP})
	data = append(data, attribute(unix.IFLA_TUN_MULTI_QUEUE, []byte{1})...)
	data = append(data, attribute(unix.IFLA_TUN_NUM_QUEUES, []byte{2, 0, 0, 0})...)
	data = append(data, attribute(unix.IFLA_TUN_NUM_DISABLED_QUEUES, []byte{1, 0, 0, 0})...)
	data = append(data, attribute(unix.IFLA_TUN_OWNER, []byte{0xe8, 3, 0, 0})...)
	tun = append(tun, attribute(unix.IFLA_INFO_DATA|unix.NLA_F_NESTED, data)...)
	l, err := parseLink(&syscall.NetlinkMessage{
		Header: syscall.NlMsghdr{Type: unix.RTM_NEWLINK}, Data: append(linkMessage(7, unix.IFF_UP), attribute(unix.IFLA_LINKINFO, tun)...),
	})
	want := link{index: 7, flags: unix.IFF_UP, kind: "tun", tun: true, mode: unix.IFF_TAP, multi: true, queues: 3, owner: 1000, ownerTeam: -1}
	if err != nil || *l != want {
		t.Errorf("%+v, %v", l, err)
	}
}
