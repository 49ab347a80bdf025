// Package views turns facts into tables, trees and short texts, as plain values.
//
// Nothing here does I/O, knows a client or writes a colour code: a view says what stands where and in
// what tone, the printer of a verb maps the tone to ANSI or to nothing, the terminal UI to a style.
// What is drawn is sanitized here, so facts may hold text just as the cluster gave it.
//
// Two signs stand for what is not there, as in kubectl: None for a field that is empty, Unknown for
// a number that cannot be known.
package views
