package kernel

import (
	"bytes"
	"strings"
	"testing"

	"doorbell/guest/memory"
)

func seeds(f *testing.F) {
	for _, c := range packed {
		f.Add(pack(f, c, testVmlinux()))
		f.Add(bzImageFile(payload(f, c, testVmlinux()), nil))
	}
	x86 := readFile(f, "testdata/vmlinux-x86.xz")
	f.Add(x86)
	f.Add(bzImageFile(x86, nil))
	f.Add(bzImageFile([]byte("BZh91AY&SY"), nil))
	f.Add([]byte("MZ"))
	f.Add([]byte("hello\n"))
}

// checkError holds every error to one line that names the file.
func checkError(t *testing.T, err error) {
	t.Helper()
	if !strings.HasPrefix(err.Error(), "kernel fuzz: ") || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %q", err)
	}
}

func FuzzOpen(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		im, err := New("fuzz", bytes.NewReader(b), int64(len(b)))
		if err != nil {
			checkError(t, err)
			return
		}
		if h := im.SetupHeader(); h != nil && h.CodeOffset()+h.CodeSize() > uint64(len(b)) {
			t.Error("accepted code beyond the file's end")
		}
	})
}

func FuzzLoad(f *testing.F) {
	seeds(f)
	const size = 8 << 20
	m, err := memory.NewHeap(size)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		im, err := New("fuzz", bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		l, err := im.Load(m)
		if err != nil {
			checkError(t, err)
			return
		}
		if l.Start >= l.End || l.End > size || l.Entry < l.Start || l.Entry >= l.End {
			t.Errorf("loaded %+v into %#x bytes", l, size)
		}
		if l.Format == "" || (l.Fallback != "") != strings.HasPrefix(l.Format, "bzImage") {
			t.Errorf("format %q, fallback %q", l.Format, l.Fallback)
		}
	})
}
