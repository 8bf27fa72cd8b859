package virtio

import "doorbell/internal/ledger"

// QueueStats is the account of one queue over all its lives; the queue's thread is the only writer.
type QueueStats struct {
	Kicks      ledger.Counter // notifications from the driver
	Chains     ledger.Counter // buffers taken
	Batches    ledger.Counter // times that used buffers were published
	Interrupts ledger.Counter // messages sent
	Suppressed ledger.Counter // batches that the driver did not want to hear of
}

// KicksAvoided is the number of buffers that came without a kick of their own, since they came while the device wanted none (EVENT_IDX, or
// VIRTQ_USED_F_NO_NOTIFY and its packed sister) or several at once. Buffers that a driver gives in advance, as it does for receiving, are among them.
func (s *QueueStats) KicksAvoided() uint64 {
	chains, kicks := s.Chains.Load(), s.Kicks.Load()
	if kicks > chains {
		return 0
	}
	return chains - kicks
}
