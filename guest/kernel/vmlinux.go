package kernel

import (
	"errors"
	"fmt"
	"io"
)

// Vmlinux returns the unpacked vmlinux as a stream: for programs that load
// kernels less well than doorbell does. Reading reports a damaged payload.
func (im *Image) Vmlinux() (io.ReadCloser, error) {
	off, n, c := uint64(0), im.size, im.codec
	if im.setup != nil {
		off, n = im.setup.Payload()
		off += im.setup.CodeOffset()
		magic := make([]byte, min(n, 8))
		if err := readFull(im.file, magic, off); err != nil {
			return nil, fail(im.name, err)
		}
		c = detect(magic)
		if c.supported() && c != codecGzip && n >= 4 {
			n -= 4 // the unpacked size, behind the payload
		}
	}
	section := io.NewSectionReader(&window{im.file, off}, 0, int64(n))
	switch {
	case c == codecELF:
		return io.NopCloser(section), nil
	case !c.supported():
		return nil, fail(im.name, fmt.Errorf("%s payload: %w", c, errors.ErrUnsupported))
	}
	dec, err := c.decoder(section)
	if err != nil {
		return nil, fail(im.name, fmt.Errorf("%s: %w", c, err))
	}
	return &unpacked{dec}, nil
}

// unpacked is a decoder as an io.ReadCloser.
type unpacked struct{ decoder }

// Close releases the decoder.
func (u *unpacked) Close() error {
	u.close()
	return nil
}
