package netdev

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"doorbell/virtio"
)

// namedFeatures are the device's and its transport's, in the order of their bits.
var namedFeatures = func() []Feature {
	all := slices.Clone(Features)
	for _, f := range virtio.Features {
		all = append(all, Feature(f))
	}
	slices.SortFunc(all, func(a, b Feature) int { return cmp.Compare(a.Bit, b.Bit) })
	return all
}()

// FeatureNames are the names of a set's members, of the device and of its transport, as the specification has them.
func FeatureNames(features uint64) (names []string) {
	for _, f := range namedFeatures {
		if features&f.Bit != 0 {
			names = append(names, f.Name)
		}
	}
	return names
}

// ParseFeatures reads names that are joined by "+", in lower case or not, into a set of features that a card can do without.
func ParseFeatures(s string) (set uint64, err error) {
	for name := range strings.SplitSeq(s, "+") {
		i := slices.IndexFunc(namedFeatures, func(f Feature) bool { return strings.EqualFold(f.Name, name) })
		switch {
		case i < 0:
			return 0, fmt.Errorf("there is no feature %q: there are %s", name, strings.ToLower(strings.Join(FeatureNames(^uint64(virtio.FeatureVersion1)), " ")))
		case namedFeatures[i].Bit == virtio.FeatureVersion1:
			return 0, fmt.Errorf("%s: this card is a modern one only", strings.ToLower(namedFeatures[i].Name))
		}
		set |= namedFeatures[i].Bit
	}
	return set, nil
}
