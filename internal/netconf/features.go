package netconf

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A Feature is an offload, by the kernel's name for it (net/ethtool/common.c, netdev_features_strings).
type Feature struct {
	Name   string `json:"name"`
	Active bool   `json:"active"`
	// Fixed says that it cannot be changed.
	Fixed bool `json:"fixed,omitempty"`
}

// aliases are ethtool -K's short names for what the kernel calls otherwise. One name may stand for several features: each that the
// card can change.
var aliases = map[string][]string{
	"rx":     {"rx-checksum"},
	"tx":     {"tx-checksum-ipv4", "tx-checksum-ip-generic", "tx-checksum-ipv6", "tx-checksum-fcoe-crc", "tx-checksum-sctp"},
	"sg":     {"tx-scatter-gather"},
	"tso":    {"tx-tcp-segmentation", "tx-tcp-ecn-segmentation", "tx-tcp-mangleid-segmentation", "tx-tcp6-segmentation"},
	"gso":    {"tx-generic-segmentation"},
	"gro":    {"rx-gro"},
	"gro-hw": {"rx-gro-hw"},
	"lro":    {"rx-lro"},
	"rxhash": {"rx-hashing"},
	"uso":    {"tx-udp-segmentation"},
}

// Results of ETHTOOL_SFEATURES.
const (
	featureUnsupported = 1 << 0
	featureWish        = 1 << 1
)

// Features returns all offloads that the kernel knows.
func (n *NIC) Features() ([]Feature, error) {
	names, err := n.strings("features", setFeatures)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	// struct ethtool_gfeatures: cmd, size, blocks of 32: available, requested, active, never_changed.
	blocks := (len(names) + 31) / 32
	buffer := make([]byte, 8+16*blocks)
	put(buffer, 1, uint32(blocks))
	if err := n.do("features", unix.ETHTOOL_GFEATURES, buffer); err != nil {
		return nil, err
	}
	features := make([]Feature, 0, len(names))
	for i, name := range names {
		block, bit := 2+4*(i/32), uint32(1)<<(i%32)
		available, active, never := get(buffer, block)&bit != 0, get(buffer, block+2)&bit != 0, get(buffer, block+3)&bit != 0
		features = append(features, Feature{Name: name, Active: active, Fixed: never || !available})
	}
	return features, nil
}

// SetFeatures switches offloads on and off (ethtool -K), by the kernel's names or ethtool's short ones. What the kernel did not do
// is an error.
func (n *NIC) SetFeatures(change map[string]bool) error {
	features, err := n.Features()
	if err != nil {
		return err
	}
	// struct ethtool_sfeatures: cmd, size, blocks of 32: valid, requested.
	blocks := (len(features) + 31) / 32
	buffer := make([]byte, 8+8*blocks)
	put(buffer, 1, uint32(blocks))
	for name, on := range change {
		indices, err := selectFeatures(features, name, on)
		if err != nil {
			return fmt.Errorf("%s: %w", n.name, err)
		}
		for _, i := range indices {
			block, bit := 2+2*(i/32), uint32(1)<<(i%32)
			put(buffer, block, get(buffer, block)|bit)
			if on {
				put(buffer, block+1, get(buffer, block+1)|bit)
			} else {
				put(buffer, block+1, get(buffer, block+1)&^bit)
			}
		}
	}
	result, err := n.call("set features", unix.ETHTOOL_SFEATURES, buffer)
	switch {
	case err != nil:
		return err
	case result&featureUnsupported != 0:
		return fmt.Errorf("%s: set features: some of %s cannot be changed", n.name, sortedNames(change))
	case result&featureWish != 0:
		return fmt.Errorf("%s: set features: some of %s depend on others, and are as before", n.name, sortedNames(change))
	}
	return nil
}

// selectFeatures returns the indices of the features that a name stands for and that are to be changed.
func selectFeatures(features []Feature, name string, on bool) ([]int, error) {
	names, alias := aliases[name]
	if !alias {
		names = []string{name}
	}
	var indices []int
	known, right := false, false
	for i, f := range features {
		if !slices.Contains(names, f.Name) {
			continue
		}
		known = true
		switch {
		case !f.Fixed:
			indices = append(indices, i)
		case f.Active == on:
			right = true
		}
	}
	switch {
	case !known:
		return nil, fmt.Errorf("feature %.40q is not known to the kernel", name)
	case len(indices) == 0 && !right:
		return nil, fmt.Errorf("feature %s cannot be changed on this card", name)
	}
	return indices, nil
}

func sortedNames(change map[string]bool) string {
	var names []string
	for name := range change {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
