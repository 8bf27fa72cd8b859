// Package wire is the protocol between a traffic controller and a guest: what is asked, what is answered, and how both get onto a
// connection.
//
// Every TCP connection starts with a Preface of fixed size. On a control connection, opened by the guest, messages follow, each a
// line of JSON of at most MaxMessage bytes; the first is the guest's Hello. The controller sends tasks, each with a number of its
// own; the guest runs them concurrently and answers each once, with a result or an error. On the way a task that listens or expects
// datagrams says that it is ready, and the controller may say how much it sent, or that it no longer wants the answer.
//
// On a data connection the bytes of its task follow the preface: nothing else is between them.
//
// Neither side believes the other: sizes and counts are checked on arrival.
package wire
