// Package netserve is what a network of guests needs beside its host: a DHCP server and a DNS server that know as much as these guests ask. The emulated
// host's network of passed-through cards has them, and the taps of tests.
package netserve
