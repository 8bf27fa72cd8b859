package main

import "testing"

func TestConsoleKeys(t *testing.T) {
	for _, c := range []struct {
		typed, guest string
		stopped      bool
	}{
		{"ls\r", "ls\r", false},
		{"\x03", "", true},
		{"a\x01\x03b", "a\x03b", false},
		{"\x01\x01", "\x01", false},
		{"x\x01y\x03z", "xyz", true},
	} {
		stopped := false
		k := &console{raw: true, stop: func(error) { stopped = true }}
		var got []byte
		for _, b := range []byte(c.typed) { // keys arrive one at a time
			got = append(got, k.filter([]byte{b})...)
		}
		if string(got) != c.guest || stopped != c.stopped {
			t.Errorf("typed %q: the guest got %q, stopped %v; want %q, %v", c.typed, got, stopped, c.guest, c.stopped)
		}
	}
}
