package kernel

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// TestVmlinux: the stream is what was packed, for every form that can be unpacked.
func TestVmlinux(t *testing.T) {
	want := testVmlinux()
	for _, c := range []codec{codecELF, codecGzip, codecXz, codecZstd, codecLZ4} {
		for name, file := range map[string][]byte{"bzImage": bzImageFile(payload(t, c, want), nil), "file": pack(t, c, want)} {
			r, err := newImage(t, file).Vmlinux()
			if err != nil {
				t.Errorf("%s in %s: %v", c, name, err)
				continue
			}
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s in %s: %d bytes, %v; want the %d bytes that were packed", c, name, len(got), err, len(want))
			}
			r.Close()
		}
	}
	bzip2 := newImage(t, bzImageFile([]byte("BZh91AY&SY......"), nil))
	if _, err := bzip2.Vmlinux(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("bzip2: %v", err)
	}
}
