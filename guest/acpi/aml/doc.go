// Package aml encodes ACPI Machine Language, the byte code of the tables DSDT
// and SSDT (ACPI 6.4, chapter 20), as far as a table of static devices needs
// it: names, scopes, devices, packages, integers, strings and resource
// templates. There are no methods: what a device has to say is known when the
// machine is built.
//
// Every function returns the finished encoding of one term, so that a table
// reads like the ASL it stands for:
//
//	aml.Scope(`\_SB`,
//		aml.Device("COM1",
//			aml.Name("_HID", aml.EISAID("PNP0501")),
//			aml.Name("_UID", aml.Int(0)),
//			aml.Name("_CRS", aml.ResourceTemplate(
//				aml.IO(0x3f8, 0x3f8, 0, 8),
//				aml.Interrupt(aml.Edge, aml.ActiveHigh, aml.Exclusive, 4)))))
//
// Names and EISA identifiers are written by programmers, never read from a
// guest or a file: a malformed one panics, as in regexp.MustCompile.
package aml
