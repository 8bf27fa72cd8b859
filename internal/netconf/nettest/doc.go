// Package nettest is the other end of a test's wire: a tap, a DHCP and a DNS server for it, and network namespaces to test in.
package nettest
