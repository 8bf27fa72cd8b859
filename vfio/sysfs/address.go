package sysfs

import (
	"fmt"
	"regexp"
	"strconv"
)

// Address is a function's place on the host's buses.
type Address struct {
	Domain           uint32
	Bus, Device, Fun uint8
}

// String is the form of sysfs: 0000:00:04.0.
func (a Address) String() string {
	return fmt.Sprintf("%04x:%02x:%02x.%x", a.Domain, a.Bus, a.Device, a.Fun)
}

var addressForm = regexp.MustCompile(`^(?:([0-9a-fA-F]{4,8}):)?([0-9a-fA-F]{2}):([01][0-9a-fA-F])\.([0-7])$`)

// ParseAddress reads 0000:00:04.0, or 00:04.0 in domain 0.
func ParseAddress(s string) (Address, error) {
	m := addressForm.FindStringSubmatch(s)
	if m == nil {
		return Address{}, fmt.Errorf("%q is no PCI address: write it as in 0000:00:04.0", s)
	}
	part := func(s string) uint64 {
		v, _ := strconv.ParseUint(s, 16, 32) // digits by the expression; none is 0
		return v
	}
	return Address{uint32(part(m[1])), uint8(part(m[2])), uint8(part(m[3])), uint8(part(m[4]))}, nil
}
