package netdev

import (
	"fmt"

	"doorbell/virtio"
	"doorbell/virtio/backend"
)

// Feature bits (section 5.1.3).
const (
	FeatureCSum              = 1 << 0
	FeatureGuestCSum         = 1 << 1
	FeatureCtrlGuestOffloads = 1 << 2
	FeatureMTU               = 1 << 3
	FeatureMAC               = 1 << 5
	FeatureGuestTSO4         = 1 << 7
	FeatureGuestTSO6         = 1 << 8
	FeatureGuestECN          = 1 << 9
	FeatureHostTSO4          = 1 << 11
	FeatureHostTSO6          = 1 << 12
	FeatureHostECN           = 1 << 13
	FeatureMrgRxBuf          = 1 << 15
	FeatureStatus            = 1 << 16
	FeatureCtrlVQ            = 1 << 17
	FeatureCtrlRx            = 1 << 18
	FeatureCtrlVLAN          = 1 << 19
	FeatureCtrlRxExtra       = 1 << 20
	FeatureGuestAnnounce     = 1 << 21
	FeatureMQ                = 1 << 22
	FeatureCtrlMACAddr       = 1 << 23
	FeatureVQNotfCoal        = 1 << 52
	FeatureNotfCoal          = 1 << 53
	FeatureGuestUSO4         = 1 << 54
	FeatureGuestUSO6         = 1 << 55
	FeatureHostUSO           = 1 << 56
	FeatureHashReport        = 1 << 57
	FeatureRSS               = 1 << 60
	FeatureSpeedDuplex       = 1 << 63
)

// Feature is one feature bit by name.
type Feature virtio.Feature

// Features are all that this device knows, in the order of their bits.
var Features = []Feature{
	{FeatureCSum, "CSUM"}, {FeatureGuestCSum, "GUEST_CSUM"}, {FeatureCtrlGuestOffloads, "CTRL_GUEST_OFFLOADS"}, {FeatureMTU, "MTU"},
	{FeatureMAC, "MAC"}, {FeatureGuestTSO4, "GUEST_TSO4"}, {FeatureGuestTSO6, "GUEST_TSO6"}, {FeatureGuestECN, "GUEST_ECN"},
	{FeatureHostTSO4, "HOST_TSO4"}, {FeatureHostTSO6, "HOST_TSO6"}, {FeatureHostECN, "HOST_ECN"}, {FeatureMrgRxBuf, "MRG_RXBUF"},
	{FeatureStatus, "STATUS"}, {FeatureCtrlVQ, "CTRL_VQ"}, {FeatureCtrlRx, "CTRL_RX"}, {FeatureCtrlVLAN, "CTRL_VLAN"},
	{FeatureCtrlRxExtra, "CTRL_RX_EXTRA"}, {FeatureGuestAnnounce, "GUEST_ANNOUNCE"}, {FeatureMQ, "MQ"}, {FeatureCtrlMACAddr, "CTRL_MAC_ADDR"},
	{FeatureVQNotfCoal, "VQ_NOTF_COAL"}, {FeatureNotfCoal, "NOTF_COAL"}, {FeatureGuestUSO4, "GUEST_USO4"}, {FeatureGuestUSO6, "GUEST_USO6"},
	{FeatureHostUSO, "HOST_USO"}, {FeatureHashReport, "HASH_REPORT"}, {FeatureRSS, "RSS"}, {FeatureSpeedDuplex, "SPEED_DUPLEX"},
}

// requirement says that a feature needs one of others (section 5.1.3.1).
type requirement struct{ feature, oneOf uint64 }

// required is what a driver must keep to.
var required = []requirement{
	{FeatureGuestTSO4, FeatureGuestCSum}, {FeatureGuestTSO6, FeatureGuestCSum}, {FeatureGuestECN, FeatureGuestTSO4 | FeatureGuestTSO6},
	{FeatureGuestUSO4, FeatureGuestCSum}, {FeatureGuestUSO6, FeatureGuestCSum},
	{FeatureHostTSO4, FeatureCSum}, {FeatureHostTSO6, FeatureCSum}, {FeatureHostECN, FeatureHostTSO4 | FeatureHostTSO6}, {FeatureHostUSO, FeatureCSum},
	{FeatureCtrlRx, FeatureCtrlVQ}, {FeatureCtrlVLAN, FeatureCtrlVQ}, {FeatureGuestAnnounce, FeatureCtrlVQ}, {FeatureMQ, FeatureCtrlVQ},
	{FeatureCtrlMACAddr, FeatureCtrlVQ}, {FeatureNotfCoal, FeatureCtrlVQ}, {FeatureVQNotfCoal, FeatureCtrlVQ}, {FeatureRSS, FeatureCtrlVQ},
}

// offerings are the further ones that a device keeps to in what it offers (section 5.1.4.1).
var offerings = []requirement{{FeatureCtrlRxExtra, FeatureCtrlVQ}, {FeatureHashReport, FeatureCtrlVQ}, {FeatureCtrlGuestOffloads, FeatureCtrlVQ}}

// checkFeatures is the device's part of accepting a driver's choice.
func checkFeatures(features uint64) error {
	for _, r := range required {
		if features&r.feature != 0 && features&r.oneOf == 0 {
			return fmt.Errorf("%s without %s", FeatureNames(r.feature), FeatureNames(r.oneOf))
		}
	}
	return nil
}

// consistent leaves out what needs a feature that is not there.
func consistent(features uint64) uint64 {
	for changed := true; changed; {
		changed = false
		for _, list := range [][]requirement{required, offerings} {
			for _, r := range list {
				if features&r.feature != 0 && features&r.oneOf == 0 {
					features &^= r.feature
					changed = true
				}
			}
		}
	}
	return features
}

// hostFeatures are the features for frames from the guest that a set of offloads allows, guestFeatures those for frames to it.
func hostFeatures(o backend.Offloads) (f uint64) {
	for _, m := range []struct {
		offload backend.Offloads
		feature uint64
	}{{backend.Checksum, FeatureCSum}, {backend.TSO4, FeatureHostTSO4}, {backend.TSO6, FeatureHostTSO6}, {backend.ECN, FeatureHostECN}, {backend.USO, FeatureHostUSO}} {
		if o&m.offload != 0 {
			f |= m.feature
		}
	}
	return f
}

func guestFeatures(o backend.Offloads) (f uint64) {
	for _, m := range guestOffloadBits {
		if o&m.offload != 0 {
			f |= m.features
		}
	}
	return f
}

// guestOffloadBits are the features that together stand for an offload. A backend has one offload for UDP segmentation where the features
// tell the two versions of IP apart: it is in force when the driver takes both.
var guestOffloadBits = []struct {
	offload  backend.Offloads
	features uint64
}{
	{backend.Checksum, FeatureGuestCSum}, {backend.TSO4, FeatureGuestTSO4}, {backend.TSO6, FeatureGuestTSO6}, {backend.ECN, FeatureGuestECN},
	{backend.USO, FeatureGuestUSO4 | FeatureGuestUSO6},
}

// allGuestOffloads are the bits of VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET.
const allGuestOffloads = FeatureGuestCSum | FeatureGuestTSO4 | FeatureGuestTSO6 | FeatureGuestECN | FeatureGuestUSO4 | FeatureGuestUSO6

// guestOffloads are the offloads that a set of features, or a command, puts in force.
func guestOffloads(features uint64) (o backend.Offloads) {
	for _, m := range guestOffloadBits {
		if features&m.features == m.features {
			o |= m.offload
		}
	}
	return o.Consistent()
}
