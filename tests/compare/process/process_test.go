package process

import (
	"os"
	"testing"
)

func TestOwnSeconds(t *testing.T) {
	const stat = "7 (a) S (b) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 5 1000 10 18446744073709551615 1 1 1 1 1 0 0 0 0 0 0 0 17 1 0 0 0 200 0 0 0 0 0 0 0 0 0\n"
	got, err := ownSeconds(stat)
	if err != nil || got != 1 {
		t.Errorf("%v s, %v; want 1", got, err)
	}
	for _, bad := range []string{"", "7 (a) S 1", stat[:40]} {
		if _, err := ownSeconds(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if _, err := OwnSeconds(os.Getpid()); err != nil {
		t.Error(err)
	}
}

// Memory that is touched shows; a mapping as large as the guest's memory does not.
func TestResidentBeyond(t *testing.T) {
	all, err := ResidentBeyond(os.Getpid(), 1<<50)
	if err != nil {
		t.Fatal(err)
	}
	none, err := ResidentBeyond(os.Getpid(), 1)
	if err != nil || none != 0 || all < 1<<20 {
		t.Errorf("%d of %d bytes, %v", none, all, err)
	}
}
