// Package wire is the language that the two halves of the lab speak over one
// byte stream: a virtio-serial port in the emulated host (L1), a socket on the
// caller's machine.
//
// Both ways the stream is a sequence of frames:
//
//	u8  type
//	u32 length of the payload, little-endian, at most MaxPayload
//	    payload
//
// One run goes like this, the caller's side on the left:
//
//	                  <- Ready        u32 Version: L1 is up
//	Job (JSON)        ->              what to run
//	                  <- Started      empty: the command's process exists
//	Stdin, StdinEOF   ->              bytes; empty
//	Signal            ->              u32 number, for the command's process group
//	Window            ->              u16 rows, u16 columns
//	                  <- StdinCredit  empty: one Stdin frame has been consumed
//	                  <- Stdout, Stderr   bytes
//	                  <- File (JSON), FileData..., FileEnd   one per written file
//	                  <- Alive        empty: every AliveEvery from Ready on
//	                  <- Exit         u32 exit status, u32 signal: the end
//
// Fail (text) takes the place of anything that L1 would send: it could not go
// on, and why. The caller ends a run by closing the stream.
//
// Flow control is the stream's own, with one exception: a command that does
// not read its standard input must not keep signals from arriving behind it,
// so at most StdinWindow Stdin frames are sent without a StdinCredit.
package wire
