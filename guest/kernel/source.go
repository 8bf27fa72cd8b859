package kernel

import (
	"bufio"
	"fmt"
	"io"
	"math"
)

// source is an ELF file that is read mostly forwards.
type source interface {
	// peek reads from the file's first elfHeadLimit bytes. It must come before
	// any read.
	peek(p []byte, off uint64) error
	// read fills p from off.
	read(p []byte, off uint64) error
}

// fileSource is an ELF file on disk; it can be read in any order.
type fileSource struct {
	file io.ReaderAt
	size uint64
}

func (s *fileSource) peek(p []byte, off uint64) error { return s.read(p, off) }

func (s *fileSource) read(p []byte, off uint64) error {
	if off > s.size || uint64(len(p)) > s.size-off {
		return fmt.Errorf("truncated at offset %#x of %#x: %w", s.size, off+uint64(len(p)), io.ErrUnexpectedEOF)
	}
	return readFull(s.file, p, off)
}

// window is a file seen from an offset on.
type window struct {
	file io.ReaderAt
	base uint64
}

func (w *window) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || w.base > math.MaxInt64-uint64(off) {
		return 0, io.EOF
	}
	return w.file.ReadAt(p, int64(w.base)+off)
}

// streamSource is an ELF file as it comes out of a decompressor, which cannot
// go back. Reads larger than the buffer bypass it.
type streamSource struct {
	r   *bufio.Reader
	pos uint64
}

func newStreamSource(r io.Reader) *streamSource {
	return &streamSource{r: bufio.NewReaderSize(r, elfHeadLimit)}
}

func (s *streamSource) peek(p []byte, off uint64) error {
	b, err := s.r.Peek(int(off) + len(p))
	if err != nil {
		return truncated(len(b), err)
	}
	copy(p, b[off:])
	return nil
}

func (s *streamSource) read(p []byte, off uint64) error {
	if off < s.pos {
		return fmt.Errorf("ELF segments overlap in the file at offset %#x", off)
	}
	if err := s.skip(off - s.pos); err != nil {
		return err
	}
	n, err := io.ReadFull(s.r, p)
	s.pos += uint64(n)
	if err != nil {
		return truncated(int(s.pos), err)
	}
	return nil
}

func (s *streamSource) skip(n uint64) error {
	for n > 0 {
		done, err := s.r.Discard(int(min(n, 1<<30)))
		s.pos += uint64(done)
		n -= uint64(done)
		if err != nil {
			return truncated(int(s.pos), err)
		}
	}
	return nil
}

// drain reads the stream to its end, so that its checksums are verified, but
// gives up after limit bytes. It reports whether it saw the end.
func (s *streamSource) drain(limit int64) (bool, error) {
	n, err := io.CopyN(io.Discard, s.r, limit)
	s.pos += uint64(n)
	switch err {
	case nil:
		return false, nil
	case io.EOF:
		return true, nil
	}
	return false, truncated(int(s.pos), err)
}

// truncated tells how far a stream could be read.
func truncated(pos int, err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("truncated or corrupt behind %d unpacked bytes: %w", pos, err)
}
