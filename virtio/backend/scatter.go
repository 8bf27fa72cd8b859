package backend

// Len is the number of bytes in a scatter-gather list.
func Len(list [][]byte) (n int) {
	for _, b := range list {
		n += len(b)
	}
	return n
}

// Scatter copies p to the list, starting at byte off of it, and returns how much fitted.
func Scatter(list [][]byte, off int, p []byte) (n int) {
	for _, b := range list {
		if off >= len(b) {
			off -= len(b)
			continue
		}
		m := copy(b[off:], p)
		n, p, off = n+m, p[m:], 0
		if len(p) == 0 {
			break
		}
	}
	return n
}

// Gather copies from the list, starting at byte off of it, to p, and returns how much there was.
func Gather(p []byte, list [][]byte, off int) (n int) {
	for _, b := range list {
		if off >= len(b) {
			off -= len(b)
			continue
		}
		m := copy(p, b[off:])
		n, p, off = n+m, p[m:], 0
		if len(p) == 0 {
			break
		}
	}
	return n
}
