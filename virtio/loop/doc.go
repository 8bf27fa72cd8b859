// Package loop is a backend without a network behind it: it generates frames for the guest, swallows or echoes the guest's, and counts
// both exactly. It is for tests and for measurements in which nothing but the device should cost time.
//
// The generated frames are UDP datagrams of a chosen number of flows, so that steering has something to tell apart; each carries a
// number that rises by one within its queue. At any time, for each queue,
//
//	sent = delivered + dropped + waiting
//
// where waiting is at most Config.Backlog, and zero once a limited number of frames has been taken.
package loop
