package virtio

// Feature bits that are not a device type's own (section 6).
const (
	FeatureIndirectDesc = 1 << 28 // VIRTIO_F_INDIRECT_DESC
	FeatureEventIdx     = 1 << 29 // VIRTIO_F_EVENT_IDX
	FeatureVersion1     = 1 << 32 // VIRTIO_F_VERSION_1
	FeatureRingPacked   = 1 << 34 // VIRTIO_F_RING_PACKED
	FeatureRingReset    = 1 << 40 // VIRTIO_F_RING_RESET

	// transportFeatures are offered for every device unless Config.Disable says otherwise.
	transportFeatures = FeatureIndirectDesc | FeatureEventIdx | FeatureVersion1 | FeatureRingPacked | FeatureRingReset
	// reservedFeatures are the bits that a Device must leave to the transport (section 6: 24 to 49).
	reservedFeatures = uint64(1<<50 - 1<<24)
)

// Feature is one feature bit by name.
type Feature struct {
	Bit  uint64
	Name string // as the specification has it, without VIRTIO_F_ or the device type's VIRTIO_NET_F_
}

// Features are the transport's, in the order of their bits.
var Features = []Feature{
	{FeatureIndirectDesc, "INDIRECT_DESC"}, {FeatureEventIdx, "EVENT_IDX"}, {FeatureVersion1, "VERSION_1"}, {FeatureRingPacked, "RING_PACKED"},
	{FeatureRingReset, "RING_RESET"},
}
