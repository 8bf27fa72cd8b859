package memory

import "fmt"

// RangeError reports a guest physical range that is not RAM as a whole.
type RangeError struct {
	GPA  uint64 // first address of the range
	Len  uint64 // its length in bytes
	Size uint64 // the size of guest RAM
}

func (e *RangeError) Error() string {
	return fmt.Sprintf("%d bytes at guest address %#x are not within the %s of guest memory",
		e.Len, e.GPA, FormatSize(e.Size))
}

// FormatSize renders a size for people: bytes below 1 KiB, KiB below 1 MiB,
// MiB from there on, rounded up so that a thing never looks smaller than it is.
func FormatSize(n uint64) string {
	const kib, mib = 1 << 10, 1 << 20
	switch {
	case n < kib:
		return fmt.Sprintf("%d B", n)
	case n <= mib-kib:
		return fmt.Sprintf("%d KiB", (n+kib-1)/kib)
	}
	mibs := n / mib
	if n%mib != 0 {
		mibs++
	}
	return fmt.Sprintf("%d MiB", mibs)
}
