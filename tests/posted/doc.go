// Package posted checks the proof by behaviour that interrupts are posted, on the host that it finds itself on: the lab's AMD host, which has nothing to
// post with, in `make test`, and its Intel host in `make test-posted`.
package posted
