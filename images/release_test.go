package images

import "testing"

func TestParseRelease(t *testing.T) {
	for in, want := range map[string]Release{
		"debian:trixie":             {Suite: "trixie"},
		"debian:bookworm-backports": {Suite: "bookworm-backports"},
		"debian:rt":                 {Realtime: true},
		"debian:irqprobe":           {IRQProbe: true},
		"debian:trixie+rt+irqprobe": {Suite: "trixie", Realtime: true, IRQProbe: true},
	} {
		got, ok, err := ParseRelease(in)
		if got != want || !ok || err != nil || "debian:"+got.String() != in {
			t.Errorf("%s: %+v (%s), %v, %v", in, got, got, ok, err)
		}
	}
	if got, ok, err := ParseRelease("debian:rt+sid"); got != (Release{Suite: "sid", Realtime: true}) || !ok || err != nil {
		t.Errorf("rt+sid: %+v, %v, %v", got, ok, err)
	}
	for _, in := range []string{"", "vmlinuz", "./debian:trixie", "/boot/vmlinuz"} {
		if got, ok, err := ParseRelease(in); ok || err != nil {
			t.Errorf("%q: %+v, %v, %v", in, got, ok, err)
		}
	}
	for _, in := range []string{
		"debian:", "debian:../x", "debian:a b", "debian:-x", "debian:x-", "debian:X", "debian:a\nb", "debian:a/b", "debian:a+", "debian:+rt", "debian:a+b", "debian:rt+rt",
	} {
		_, ok, err := ParseRelease(in)
		if !ok {
			t.Errorf("%q is taken for a file", in)
		}
		wantError(t, err, "debian:trixie")
	}
}

// Each kernel has folders of its own: the newest of one must not be taken for another's.
func TestReleaseFolders(t *testing.T) {
	seen := map[string]Release{}
	for _, r := range []Release{{}, {Suite: "trixie"}, {Realtime: true}, {Suite: "trixie", Realtime: true}} {
		f := r.folder("kernels")
		if other, ok := seen[f]; ok {
			t.Errorf("%+v and %+v share %s", r, other, f)
		}
		seen[f] = r
	}
	if a, b := (Release{}).folder("kernels"), (Release{IRQProbe: true}).folder("kernels"); a != b {
		t.Errorf("the module needs no kernel of its own: %s and %s", a, b)
	}
}
