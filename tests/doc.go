// Package tests holds the tests that see doorbell as a user does: the built program, real kernels, real reports.
//
// They carry the build tag lab and run where KVM runs Linux: on such a machine by `go test -tags lab ./tests`, elsewhere by
// `go test -tags lab -exec 'doorbell lab --' ./tests`. The program under test is the doorbell in PATH.
package tests
