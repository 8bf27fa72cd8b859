package usernet

import (
	"net"
	"testing"

	"doorbell/virtio/backend"
)

func TestConfigErrors(t *testing.T) {
	for _, c := range []Config{{Queues: -1}, {Queues: 1000}, {MTU: 100}, {MTU: 70000}, {MAC: net.HardwareAddr{1}}, {Limits: Limits{QueueFrames: 3}}} {
		n, err := New(c)
		if err == nil {
			n.Close()
			t.Errorf("%+v is accepted", c)
		}
	}
	n := newNetwork(t, Config{})
	if n.SetOffloads(backend.USO) == nil || n.SetActive(2) == nil || n.SetActive(0) == nil {
		t.Error("the network accepts what it does not offer")
	}
}
