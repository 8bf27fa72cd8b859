package mailbox

import "fmt"

// Type says what a message is.
type Type uint32

// The messages.
const (
	// Hello is the guest's first message: the agent's version, as text.
	Hello Type = 1
	// Phase tells that the guest has reached a stage of its life: its name,
	// such as "userspace".
	Phase Type = 2
	// Report is a JSON document from the guest.
	Report Type = 3
	// Log is text from the guest for a human.
	Log Type = 4
	// Job is a JSON document from the host: what the agent is to do.
	Job Type = 5
	// Bye is a side's last message.
	Bye Type = 6
)

// String returns the type's name.
func (t Type) String() string {
	switch t {
	case Hello:
		return "Hello"
	case Phase:
		return "Phase"
	case Report:
		return "Report"
	case Log:
		return "Log"
	case Job:
		return "Job"
	case Bye:
		return "Bye"
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// Message is one message. Its payload belongs to the receiver.
type Message struct {
	Type    Type
	Payload []byte
}

// fromGuest and fromHost say which side sends a type.
func fromGuest(t Type) bool { return t >= Hello && t <= Log || t == Bye }
func fromHost(t Type) bool  { return t == Job || t == Bye }
